"""Figure: energy of 1,000 images of every configuration on every device, with what each figure is about."""

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.energy import MEASURED
from trainoff.report import economy, figures, summaries
from trainoff.workflow.script import logged


def main(rates, devices, svg, png):
    """Draws the table at the path `rates` (parquet) into `svg` and `png`."""
    figures.use_style()
    figures.save(draw(pd.read_parquet(rates), devices), svg, png)


def draw(rates, devices):
    """The figure; `devices` are dicts with name and label in the order of the experiment."""
    shown = figures.devices_in(devices, rates)
    title = economy.energy_title(rates, shown)
    notes = economy.energy_notes(rates, shown)
    if rates["joules_per_image"].isna().all():
        return figures.quiet_panel(title, " ".join(dict.fromkeys(notes)))
    configurations = naming.all_configurations(rates)
    if summaries.too_many(configurations):
        table = rates.assign(joules=1000 * rates["joules_per_image"])
        return summaries.draw_spreads(title, configurations, notes, table, "joules", shown, "joules per 1,000 images")
    groups, names = figures.row_names(configurations)
    found = {(naming.configuration_of(row), row["device"]): row for row in rates.to_dict("records")}
    known = [row for row in found.values() if numbers.known(row["joules_per_image"])]
    sheet = figures.rows(
        title,
        naming.constant_text(configurations),
        ["Dot: median of the runs; line: 95 % interval. Bar: what is left above the idle machine.", *notes],
        groups,
        names,
        len(shown),
        "joules per 1,000 images",
        key=[(device.colour, device.mark, device.label) for device in shown],
    )
    values = [1000 * row["joules_per_image"] for row in known]
    logarithmic = max(values) / min(values) > 12
    ends = [
        *values,
        *(1000 * row["joules_per_image_high"] for row in known if numbers.known(row["joules_per_image_high"])),
    ]
    if logarithmic:
        above = [row["joules_per_image_above_idle"] for row in known]
        ends += [1000 * value for value in above if numbers.known(value)]
    for axes, group in sheet.panels:
        if logarithmic:
            axes.set_xscale("log")
        axes.set_xlim(figures.limits(ends, [(_right(row), _text(row)) for row in known], axes, logarithmic))
        if logarithmic:
            figures.plain_log_axis(axes)
            if axes.get_xlabel():
                axes.set_xlabel("joules per 1,000 images (logarithmic)")
        for lane, device in enumerate(shown):
            for place, configuration in enumerate(group):
                _draw_cell(axes, sheet.y(place, lane), device, found.get((configuration, device.name)))
    return sheet.frame.figure


def _draw_cell(axes, y, device, row):
    if row is None or not numbers.known(row["joules_per_image"]):
        figures.draw_missing(axes, y, device, "unknown" if row else "not run")
        return
    above = row["joules_per_image_above_idle"]
    if numbers.known(above):
        axes.plot([1000 * above], [y], "|", color=device.colour, markersize=7, markeredgewidth=1.4, zorder=3)
    low, high = (
        1000 * row[end] if numbers.known(row[end]) else None
        for end in ("joules_per_image_low", "joules_per_image_high")
    )
    hollow = row["energy_source"] not in MEASURED
    figures.draw_estimate(axes, y, device, 1000 * row["joules_per_image"], low, high, hollow=hollow)
    figures.write_beside(axes, _right(row), y, _text(row))


def _right(row):
    return 1000 * (
        row["joules_per_image_high"] if numbers.known(row["joules_per_image_high"]) else row["joules_per_image"]
    )


def _text(row):
    words = {"gpu": "GPU", "package": "processor", "soc": "chip"}.get(row["energy_scope"], row["energy_scope"])
    declared = "" if row["energy_source"] in MEASURED else ", declared"
    return f"{numbers.significant(1000 * row['joules_per_image'])} ({words}{declared})"


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        main(snakemake.input.rates, snakemake.params.devices, snakemake.output.svg, snakemake.output.png)

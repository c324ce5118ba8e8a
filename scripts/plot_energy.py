"""Figure: energy of 1,000 images of every configuration on every device, with the part that each reading covers."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.energy import MEASURED
from trainoff.report import economy, figures, palette, saving, summaries
from trainoff.workflow.script import logged

SCOPE_HEADINGS = {
    "gpu": "The GPU alone",
    "package": "The processor package",
    "soc": "The whole chip",
    "machine": "The whole machine",
}
ENDS = ("joules_per_image", "joules_per_image_low", "joules_per_image_high", "joules_per_image_above_idle")


def draw(rates: pd.DataFrame, devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name and label in the order of the experiment."""
    shown = palette.devices_in(devices, rates)
    title = economy.energy_title(rates, shown)
    notes = economy.energy_notes(rates, shown)
    if rates["joules_per_image"].isna().all():
        return figures.quiet_panel(title, " ".join(dict.fromkeys(notes)))
    configurations = naming.all_configurations(rates)
    if summaries.too_many(configurations):
        return _draw_spreads(title, configurations, notes, rates, shown)
    names = naming.row_names(configurations)[1]
    known = rates.dropna(subset="joules_per_image")
    scopes = list(dict.fromkeys(known["energy_scope"]))
    # A panel for each part of a machine that was read: no axis holds what may not be compared.
    panels = [(scope, known[known["energy_scope"] == scope]) for scope in scopes]
    by_scope = {scope: [device for device in shown if device.name in set(part["device"])] for scope, part in panels}
    rows = {
        scope: {(naming.configuration_of(row), row["device"]): row for row in part.to_dict("records")}
        for scope, part in panels
    }
    every = [row for results in rows.values() for row in results.values()]
    lanes = max(map(len, by_scope.values()))
    sheet = figures.rows(
        figures.Heading(
            title,
            naming.constant_text(configurations),
            [
                "Dot: median of the runs; line: 95% interval; bar: energy above idle. Each panel has its own axis.",
                *notes,
            ],
            [(device.color, device.mark, device.label) for device in shown if device.name in set(known["device"])],
        ),
        [(SCOPE_HEADINGS.get(scope, scope), configurations) for scope in scopes],
        names,
        lanes,
        "joules per 1,000 images",
        own_axes=True,
        columns=min(2, len(scopes)),
        values=[_text(row) for row in every] if lanes == 1 else (),
    )
    for (axes, group), scope in zip(sheet.panels, scopes, strict=True):
        panel = list(rows[scope].values())
        ends = [1000 * row[end] for row in panel for end in ENDS if numbers.known(row[end])]
        logarithmic = max(ends) / min(ends) > 12
        if logarithmic:
            axes.set_xscale("log")
        labels = [] if lanes == 1 else [(_right(row), _text(row)) for row in panel]
        axes.set_xlim(figures.limits(ends, labels, axes, logarithmic))
        if logarithmic:
            figures.plain_log_axis(axes)
        else:
            axes.xaxis.set_major_locator(figures.matplotlib.ticker.MaxNLocator(4))
        for lane, device in enumerate(by_scope[scope]):
            for place, configuration in enumerate(group):
                _draw_cell(axes, sheet, sheet.y(place, lane), device, rows[scope].get((configuration, device.name)))
    return sheet.frame.figure


def _draw_spreads(title, configurations, notes, rates, devices):
    """Many configurations: a panel for each part of a machine that was read, and for each that was declared."""
    table = rates.assign(joules=1000 * rates["joules_per_image"]).dropna(subset="joules")
    panels, hollow = {}, set()
    for (scope, declared), part in table.groupby(["energy_scope", ~table["energy_source"].isin(MEASURED)], sort=False):
        text = SCOPE_HEADINGS.get(scope, scope) + (", declared" if declared else "")
        panels[text] = part
        hollow |= {text} if declared else set()
    label = "joules per 1,000 images"
    return summaries.draw_spreads(
        title, configurations, notes, table, "joules", devices, label, panels=panels, hollow=hollow
    )


def _draw_cell(axes, sheet, y, device, row):
    if row is None or not numbers.known(row["joules_per_image"]):
        figures.draw_missing(axes, y, device, "no reading")
        return
    above = row["joules_per_image_above_idle"]
    if numbers.known(above):
        axes.plot([1000 * above], [y], "|", color=device.color, markersize=7, markeredgewidth=1.4, zorder=3)
    low, high = (
        1000 * row[end] if numbers.known(row[end]) else None
        for end in ("joules_per_image_low", "joules_per_image_high")
    )
    hollow = row["energy_source"] not in MEASURED
    figures.draw_estimate(axes, y, device, 1000 * row["joules_per_image"], low, high, hollow=hollow)
    if sheet.lanes == 1:
        sheet.write(axes, y, _text(row))
    else:
        figures.write_beside(axes, _right(row), y, _text(row))


def _right(row):
    return 1000 * (
        row["joules_per_image_high"] if numbers.known(row["joules_per_image_high"]) else row["joules_per_image"]
    )


def _text(row):
    declared = "" if row["energy_source"] in MEASURED else " declared"
    return f"{numbers.significant(1000 * row['joules_per_image'])}{declared}"


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))

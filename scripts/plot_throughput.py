"""Figure: training speed of every configuration on every device, with every epoch behind its interval."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze.cells import cells, short_flags
from trainoff.report import figures, findings, palette, saving, summaries, words
from trainoff.workflow.script import logged


def draw(runs: pd.DataFrame, windows: pd.DataFrame, rates: pd.DataFrame, devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name and label in the order of the experiment."""
    shown = palette.devices_in(devices, runs)
    configurations = naming.all_configurations(runs)
    disturbed = words.disturbed(runs, {device.name: device.label for device in shown})
    if summaries.too_many(configurations):
        notes = [
            findings.one_replicate_note(rates),
            findings.unstable_note(rates),
            findings.parity_note(rates, "results"),
            *disturbed,
        ]
        return summaries.draw_spreads(
            findings.throughput_title(rates, shown),
            configurations,
            notes,
            rates,
            "images_per_second",
            shown,
            "training images per second",
        )
    groups, names = naming.row_names(configurations)
    windows = _of_good_runs(windows, runs)
    results = cells(runs, rates, windows)
    windows = windows.assign(rate=windows["images"] / windows["seconds"])
    measured = [cell["images_per_second"] for cell in results.values() if numbers.known(cell["images_per_second"])]
    if not measured:
        return figures.quiet_panel(findings.throughput_title(rates, shown), "The matrix of runs shows why.")
    sheet = figures.rows(
        figures.Heading(
            findings.throughput_title(rates, shown),
            naming.constant_text(configurations),
            [*findings.throughput_notes(runs, rates), *disturbed],
            [(device.color, device.mark, device.label) for device in shown]
            + [(palette.QUIET, "hollow", "warm-up epoch, not counted")],
        ),
        groups,
        names,
        len(shown),
        "training images per second",
    )
    logarithmic = max(measured) / min(measured) > 12
    ends = [*windows["rate"], *(end for cell in results.values() for end in (_right(cell), cell["ci_low"]) if end)]
    labels = [(_right(cell), _text(cell)) for cell in results.values() if numbers.known(cell["images_per_second"])]
    for axes, group in sheet.panels:
        if logarithmic:
            axes.set_xscale("log")
        axes.set_xlim(figures.limits(ends, labels, axes, logarithmic))
        if logarithmic:
            figures.plain_log_axis(axes)
            if axes.get_xlabel():
                axes.set_xlabel("training images per second (logarithmic)")
        for lane, device in enumerate(shown):
            _draw_windows(axes, sheet, group, lane, device, windows)
            for place, configuration in enumerate(group):
                _draw_cell(axes, sheet.y(place, lane), device, results.get((configuration, device.name)))
    return sheet.frame.figure


def _of_good_runs(windows, runs):
    """Epochs of the runs that ended well, from which the speeds are computed."""
    keys = [*naming.AXES, "device", "replicate", "seed"]
    return windows.merge(runs.loc[runs["status"] == "ok", keys], on=keys)


def _draw_windows(axes, sheet, group, lane, device, windows):
    places = {configuration: place for place, configuration in enumerate(group)}
    epochs = windows[windows["device"] == device.name]
    rows = [places.get(naming.configuration_of(row)) for row in epochs[list(naming.AXES)].to_dict("records")]
    epochs = epochs.assign(row=rows).dropna(subset="row")
    flat = len(windows) > figures.MAX_VECTOR_POINTS
    for warm_up, part in epochs.groupby(epochs["warm_up"].astype(bool)):
        axes.scatter(
            part["rate"],
            [sheet.y(row, lane) for row in part["row"]],
            s=9,
            facecolors="none" if warm_up else device.color,
            edgecolors=device.color if warm_up else "none",
            linewidths=0.6,
            alpha=0.55 if warm_up else 0.3,
            zorder=2,
            rasterized=flat,
        )


def _draw_cell(axes, y, device, cell):
    rate = cell["images_per_second"] if cell else None
    if not numbers.known(rate):
        figures.draw_missing(axes, y, device, cell["failure"] if cell else "not run")
        return
    figures.draw_estimate(axes, y, device, rate, cell["ci_low"], cell["ci_high"])
    figures.write_beside(axes, _right(cell), y, _text(cell))


def _right(cell):
    """The rightmost of what is drawn of a cell; None where nothing is."""
    if not numbers.known(cell["images_per_second"]):
        return None
    ends = (cell["images_per_second"], cell["ci_high"], cell["highest"])
    return max(value for value in ends if numbers.known(value))


def _text(cell):
    text = " ".join([numbers.significant(cell["images_per_second"]), *short_flags(cell)])
    return f"{text} ({cell['good']})" if cell["good"] else text


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))

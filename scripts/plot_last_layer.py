"""Figure: how many times faster a device trains the last layer alone than all weights."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.report import figures, findings, palette, saving, summaries
from trainoff.workflow.script import logged

OTHER_AXES = tuple(axis for axis in naming.AXES if axis != "trainable")


def draw(rates: pd.DataFrame, devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name and label in the order of the experiment."""
    shown = palette.devices_in(devices, rates)
    gains = findings.last_layer_gains(rates)
    title = findings.last_layer_title(gains, shown)
    if gains.empty:
        return figures.quiet_panel(
            title, "This needs a configuration that was measured twice on one device: trainable true and false."
        )
    # Cells that were tried keep their place even where one of the two rates is missing.
    configurations = naming.all_configurations(rates, OTHER_AXES)
    if summaries.too_many(configurations):
        return summaries.draw_spreads(
            title,
            configurations,
            [findings.one_replicate_note(rates)],
            gains,
            "gain",
            shown,
            "speed of the last layer alone ÷ speed of all weights",
            OTHER_AXES,
            baseline=1.0,
        )
    groups, names = naming.row_names(configurations, OTHER_AXES)
    results = {(naming.configuration_of(row, OTHER_AXES), row["device"]): row for row in gains.to_dict("records")}
    sheet = figures.rows(
        figures.Heading(
            title,
            naming.constant_text(configurations, OTHER_AXES),
            [
                "Dot: ratio of the two median speeds. Line: lowest to highest ratio that their 95% intervals allow, "
                "which is wider than a 95% interval of the ratio.",
                findings.one_replicate_note(rates),
            ],
            [(device.color, device.mark, device.label) for device in shown],
        ),
        groups,
        names,
        len(shown),
        "speed of the last layer alone ÷ speed of all weights (logarithmic)"
        if len(groups) == 1
        else "× speed of all weights",
    )
    rows = gains.to_dict("records")
    ends = [1.0, *(row[key] for row in rows for key in ("gain", "gain_low", "gain_high") if numbers.known(row[key]))]
    for axes, group in sheet.panels:
        axes.set_xscale("log")
        axes.set_xlim(figures.limits(ends, [(_right(row), _text(row)) for row in rows], axes, logarithmic=True))
        figures.plain_log_axis(axes)
        axes.axvline(1, color=palette.QUIET, linewidth=1, zorder=1)
        for lane, device in enumerate(shown):
            for place, configuration in enumerate(group):
                _draw_gain(axes, sheet.y(place, lane), device, results.get((configuration, device.name)))
    return sheet.frame.figure


def _draw_gain(axes, y, device, row):
    if row is None:
        figures.draw_missing(axes, y, device, "one of the two speeds is missing")
        return
    figures.draw_estimate(axes, y, device, row["gain"], row["gain_low"], row["gain_high"])
    figures.write_beside(axes, _right(row), y, _text(row))


def _right(row):
    return max(value for value in (row["gain"], row["gain_high"]) if numbers.known(value))


def _text(row):
    return numbers.ratio(row["gain"]) + (" unstable" if row["unstable"] else "")


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))

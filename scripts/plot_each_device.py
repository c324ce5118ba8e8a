"""Figure: each device alone over all configurations, on an axis of its own, as the published study showed its two."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze.cells import cells, short_flags
from trainoff.report import figures, findings, palette, saving, summaries
from trainoff.workflow.script import logged


def draw(runs: pd.DataFrame, rates: pd.DataFrame, devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name and label in the order of the experiment."""
    shown = palette.devices_in(devices, runs)
    results = cells(runs, rates)
    title = findings.each_device_title(rates, shown)
    if not findings.rates_by_device(rates, shown):
        return figures.quiet_panel(title, "The matrix of runs shows why.")
    configurations = naming.all_configurations(runs)
    if summaries.too_many(configurations):
        return summaries.draw_spreads(
            title,
            configurations,
            [findings.one_replicate_note(rates)],
            rates,
            "images_per_second",
            shown,
            "training images per second",
        )
    varying = naming.varying_axes(configurations)
    names = {
        configuration: naming.label(configuration, varying) or "the one configuration"
        for configuration in configurations
    }
    sheet = figures.rows(
        figures.Heading(
            title,
            naming.constant_text(configurations),
            [
                "Bar: median training speed. Line: 95% interval. Every panel has its own axis, so compare bars only within a "
                "panel; the figure of training speed shows the devices side by side.",
                findings.one_replicate_note(rates),
            ],
        ),
        [(device.label, configurations) for device in shown],
        names,
        1,
        "training images per second",
        columns=1 if len(shown) == 1 else 2 if len(shown) < 5 else 3,
        tight=len(configurations) > 24,
        own_axes=True,
    )
    for (axes, group), device in zip(sheet.panels, shown, strict=True):
        panel = {configuration: results.get((configuration, device.name)) for configuration in group}
        measured = [cell for cell in panel.values() if cell and numbers.known(cell["images_per_second"])]
        ends = [_right(cell) for cell in measured] or [1.0]
        labels = [(_right(cell), _text(cell)) for cell in measured]
        axes.set_xlim(figures.limits(ends, labels, axes, logarithmic=False))
        axes.xaxis.set_major_locator(figures.matplotlib.ticker.MaxNLocator(4))
        for place, configuration in enumerate(group):
            _draw_bar(axes, sheet.y(place), sheet.lane, device, panel[configuration])
    return sheet.frame.figure


def _draw_bar(axes, y, lane, device, cell):
    if not cell or not numbers.known(cell["images_per_second"]):
        figures.draw_missing(axes, y, None, cell["failure"] if cell else "not run")
        return
    axes.barh(y, cell["images_per_second"], height=lane * 0.78, color=(device.color, 0.55), linewidth=0, zorder=2)
    if numbers.known(cell["ci_low"]):
        axes.plot([cell["ci_low"], cell["ci_high"]], [y, y], color=palette.INK, linewidth=1.2, zorder=3)
    figures.write_beside(axes, _right(cell), y, _text(cell))


def _right(cell):
    return cell["ci_high"] if numbers.known(cell["ci_high"]) else cell["images_per_second"]


def _text(cell):
    return " ".join([numbers.significant(cell["images_per_second"]), *short_flags(cell)])


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))

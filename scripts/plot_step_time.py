"""Figure: what a training step costs whatever its batch, and what each further image costs."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff.report import figures, palette, saving, step_times
from trainoff.workflow.script import logged

OTHER_AXES = tuple(axis for axis in naming.AXES if axis != "batch_size")
# More panels than this say nothing new: an overhead belongs to the device.
MAX_PANELS = 6


def draw(rates: pd.DataFrame, overhead: pd.DataFrame, crossings: pd.DataFrame, devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name, label and accelerator in the order of the experiment."""
    shown = [device for device in palette.devices_in(devices, rates) if (overhead["device"] == device.name).any()]
    title = step_times.title(overhead, crossings, shown)
    if not shown:
        return figures.quiet_panel(title, "This needs two batch sizes or more, measured on one device.")
    configurations = naming.all_configurations(overhead, OTHER_AXES)
    panels = configurations[:MAX_PANELS]
    columns = 1 if figures.is_narrow() else min(2, len(panels))
    varying = naming.varying_axes(configurations, OTHER_AXES)
    tall, between, foot = 1.7, 0.42, 0.45
    lines = -(-len(panels) // columns)
    frame = figures.frame(
        figures.Heading(
            title,
            naming.constant_text(configurations, OTHER_AXES),
            [
                "Line: overhead + batch size × time per image, fitted to the results of one device. It meets the left edge at "
                "the overhead, the time of a step however few images it has. Vertical line through a mark: 95% interval. "
                "Overheads in the heading are medians over the configurations.",
                f"{len(panels)} of {len(configurations)} configurations are drawn."
                if len(panels) < len(configurations)
                else "",
            ],
            [(device.color, device.mark, device.label) for device in shown],
        ),
        lines * (tall + between) + foot,
    )
    left, gap = 0.75, 0.75
    width = (figures.WIDTH - left - figures.EDGE - gap * (columns - 1)) / columns
    for number, configuration in enumerate(panels):
        line, column = divmod(number, columns)
        axes = frame.axes(left + column * (width + gap), line * (tall + between) + 0.3, width, tall - 0.05)
        axes.set_title(
            naming.label(configuration, varying, OTHER_AXES),
            loc="left",
            fontsize=figures.FONT,
            fontweight="bold",
            pad=4,
        )
        for device in shown:
            _draw_device(axes, device, _of(rates, configuration, device), _of(overhead, configuration, device))
        axes.set_xlim(left=0)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", zorder=0)
        axes.set_ylabel("milliseconds per step")
        if number + columns >= len(panels):
            axes.set_xlabel("batch size, images per step")
    return frame.figure


def _of(table, configuration, device):
    """Rows of one device and configuration, whatever the batch size."""
    chosen = table["device"] == device.name
    for axis, value in zip(OTHER_AXES, configuration, strict=True):
        chosen &= table[axis] == value
    return table[chosen]


def _draw_device(axes, device, measured, fitted):
    known = measured.dropna(subset=["images_per_second", "ci_low"])
    step = 1000 * known["batch_size"] / known["images_per_second"]
    axes.vlines(
        known["batch_size"],
        1000 * known["batch_size"] / known["ci_high"],
        1000 * known["batch_size"] / known["ci_low"],
        color=device.color,
        linewidth=1.8,
        alpha=0.6,
    )
    axes.scatter(known["batch_size"], step, color=device.color, marker=device.mark, s=26, zorder=4)
    for row in fitted.to_dict("records"):
        ends = [0, float(known["batch_size"].max())]
        line = [1000 * (row["overhead_seconds"] + row["seconds_per_image"] * batch) for batch in ends]
        axes.plot(ends, line, color=device.color, linewidth=1.4, zorder=3)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))

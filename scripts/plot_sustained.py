"""Figure: throughput minute by minute of runs that take minutes, as a share of their first one."""

from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff.analyze import sustained
from trainoff.report import figures, palette, saving, words
from trainoff.workflow.script import logged

HEIGHT = 2.4


def draw(runs: pd.DataFrame, windows: pd.DataFrame, devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name and label in the order of the experiment."""
    shown = palette.devices_in(devices, runs)
    by_minute = sustained.table(runs, windows)
    if by_minute.empty:
        return figures.quiet_panel(
            "No run took long enough", "Speed by minute needs runs of several minutes: see presets/sustained.yaml."
        )
    present = [device for device in shown if device.name in set(by_minute["device"])]
    title = words.sustained(sustained.ratios(by_minute), {device.name: device.label for device in present})
    configurations = naming.all_configurations(by_minute)
    page = figures.frame(
        figures.Heading(
            title,
            naming.constant_text(configurations),
            [
                "Images per second of each minute as a share of the run's first with counted epochs. Thin lines: the runs; thick "
                "line: their median. Warm-up epochs are left out; validation between epochs is not on the clock."
            ],
            [(device.color, device.mark, device.label) for device in present],
        ),
        HEIGHT + 0.45,
    )
    axes = page.axes(0.55, 0.05, figures.WIDTH - 0.55 - figures.EDGE, HEIGHT)
    shares = relative(by_minute)
    for device in present:
        minutes = shares[shares["device"] == device.name]
        for _, run in minutes.groupby([*naming.AXES, "replicate"], sort=False, dropna=False):
            axes.plot(run["minute"], run["share"], color=device.color, linewidth=0.7, alpha=0.4, zorder=2)
        middle = minutes.groupby("minute")["share"].median()
        axes.plot(
            middle.index,
            middle,
            marker=device.mark,
            color=device.color,
            linewidth=1.8,
            markersize=4,
            markeredgecolor="white",
            markeredgewidth=0.4,
            zorder=3,
        )
    axes.axhline(1, color=palette.QUIET, linewidth=0.8, zorder=1)
    low, high = shares["share"].min(), shares["share"].max()
    # Changes of a few per cent are drawn as such.
    axes.set_ylim(min(low - 0.03, 0.85), max(high + 0.03, 1.05))
    axes.yaxis.set_major_formatter(matplotlib.ticker.PercentFormatter(1.0, decimals=0))
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(10, integer=True))
    axes.set_xlabel("minute of the run")
    axes.set_ylabel("of the first minute")
    axes.grid(axis="y")
    axes.tick_params(length=0)
    return page.figure


def relative(by_minute: pd.DataFrame) -> pd.DataFrame:
    """The table with `share`: each minute's speed over that of its run's first minute."""
    ordered = by_minute.sort_values("minute", kind="stable")
    keys = ["device", *naming.AXES, "replicate"]
    first = ordered.groupby(keys, sort=False, dropna=False)["images_per_second"].transform("first")
    return ordered.assign(share=ordered["images_per_second"] / first)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))

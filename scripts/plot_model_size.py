"""Figure: does the gap between devices widen with the size of the model?"""

import textwrap
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze import pairs
from trainoff.report import figures, model_size, palette, saving
from trainoff.workflow.script import logged

NEEDS = "This needs two models measured on two devices, and the operations per image of both models."


def draw(runs: pd.DataFrame, comparison: pd.DataFrame, devices: list[dict[str, Any]], pair: dict[str, Any]) -> Figure:
    """The figure; `devices` are dicts with name, label, backend, accelerator. pair: {"compare", "baseline"} of the experiment."""
    shown = palette.devices_in(devices, runs)
    if len(shown) < 2:
        return figures.quiet_panel("One device gives no ratio", NEEDS)
    chosen, ranked = figures.asked(shown, runs, pair)
    baseline = next(device for device in ranked if device.name == chosen.baseline)
    points = model_size.ratios_by_size(runs, pairs.against(comparison, baseline.name))
    title = model_size.title(points, baseline, ranked)
    if points.empty:
        return figures.quiet_panel(title, NEEDS)
    others = [device for device in ranked if device.name in set(points["device"])]
    frame = figures.frame(
        figures.Heading(
            title,
            naming.constant_text(naming.all_configurations(points)),
            [
                "Each mark is one configuration; the line joins the geometric means of the models. "
                "Operations: of one forward pass of one image, two for each multiply-add of convolutions and dense layers. "
                "Line through a mark: 95% interval.",
            ],
            [(device.color, device.mark, device.label) for device in others],
        ),
        3.6,
    )
    axes = frame.axes(0.9, 0.1, figures.WIDTH - 1.4, 3.0)
    for device in others:
        marks = points[points["device"] == device.name]
        axes.vlines(
            marks["flops_per_image"], marks["ci_low"], marks["ci_high"], color=device.color, alpha=0.4, linewidth=1
        )
        axes.scatter(marks["flops_per_image"], marks["ratio"], color=device.color, marker=device.mark, s=22, alpha=0.7)
        means = model_size.means_by_model(marks)
        axes.plot(means["flops_per_image"], means["ratio"], color=device.color, linewidth=1.5)
        for mean in means.to_dict("records"):
            axes.annotate(
                f"{palette.clean(mean['model'])} {numbers.ratio(mean['ratio'])}",
                (mean["flops_per_image"], mean["ratio"]),
                xytext=(0, 16),
                textcoords="offset points",
                ha="center",
                fontsize=figures.FONT - 0.5,
                color=device.color,
            )
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis, unit in ((axes.xaxis, 1e9), (axes.yaxis, 1)):
        axis.set_major_formatter(lambda value, _, unit=unit: f"{value / unit:g}")
        axis.set_minor_formatter(lambda value, _: "")
    axes.axhline(1, color=palette.QUIET, linewidth=1, zorder=1)
    axes.margins(x=0.12, y=0.15)
    axes.set_xlabel("billion operations per image, forward (logarithmic)")
    axes.set_ylabel("\n".join(textwrap.wrap(f"speed relative to {baseline.label} (logarithmic)", 36)))
    return frame.figure


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))

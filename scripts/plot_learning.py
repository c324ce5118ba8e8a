"""Figure: loss and accuracy by epoch, on training and validation images, one small multiple per configuration."""

import textwrap
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff.analyze import comparable
from trainoff.analyze.parity import Standing
from trainoff.report import figures, findings, palette, saving, summaries
from trainoff.workflow.script import logged

QUANTITIES = ["loss", "accuracy"]
MANY_NOTE = (
    "Configurations are too many to draw one by one. Line: median over a panel's runs. Band: their middle four fifths."
)


def draw(
    runs: pd.DataFrame,
    windows: pd.DataFrame,
    comparison: pd.DataFrame,
    devices: list[dict[str, Any]],
    parity: pd.DataFrame | None = None,
) -> Figure:
    """The figure; `devices` are dicts with name and label in the order of the experiment.

    parity: the table of that name, None where none was needed.
    """
    mismatched = Standing(parity).mismatched()
    shown = palette.devices_in(devices, runs)
    alike = [device.name for device in shown if device.name not in mismatched]
    other_work = comparable.of_other_work(alike, comparable.apart(comparison))
    title = findings.learning_title(runs, shown, [*mismatched, *other_work])
    if windows.empty:
        return figures.quiet_panel(title, "No run finished an epoch; the matrix of runs shows why.")
    configurations = naming.all_configurations(runs)
    varying = naming.varying_axes(configurations)
    many = summaries.too_many(configurations)
    names = {
        configuration: naming.label(configuration, varying) or "the one configuration"
        for configuration in configurations
    }
    panels = configurations
    if many:
        panels = summaries.groups(configurations)
        names = {group: group.name for group in panels}
    columns = min(4 if len(panels) <= 16 else 6, len(panels))
    lines = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    left, gap = 0.5, 0.1
    width = (figures.WIDTH - left - figures.EDGE - gap * (columns - 1)) / columns
    width = min(width, 2.6)
    titles = {panel: _fold(names[panel], width) for panel in panels}
    head = 0.11 + 0.13 * max(title.count("\n") + 1 for title in titles.values())
    tall = 0.95 if columns <= 4 else 0.75
    block = head + 2 * tall + 0.1
    suspect, others = ([device.label for device in shown if device.name in names] for names in (mismatched, other_work))
    replicated = bool((runs["replicate"] > 1).any())
    top = _highest_loss(windows)
    beyond = (
        f"Losses above {top:.1f} are beyond the axis." if (windows[["loss", "val_loss"]] > top).any(axis=None) else ""
    )
    page = figures.frame(
        figures.Heading(
            title,
            naming.constant_text(configurations),
            [
                *findings.learning_notes(runs, replicated and not many, suspect),
                findings.other_work_note(others),
                beyond,
                MANY_NOTE if many else "",
            ],
            [(palette.QUIET, "-", "validation"), (palette.QUIET, "--", "training")]
            + [(device.color, device.mark, device.label) for device in shown],
        ),
        block * len(lines) + 0.42,
    )
    tops = {"loss": top, "accuracy": 1.0}
    curves = _group_curves(windows, panels) if many else _curves(windows)
    for number, line in enumerate(lines):
        for column, configuration in enumerate(line):
            for row, quantity in enumerate(QUANTITIES):
                axes = page.axes(left + column * (width + gap), number * block + head + row * (tall + 0.1), width, tall)
                _draw_curves(axes, curves, configuration, quantity, shown)
                axes.set_ylim(0, tops[quantity])
                axes.set_xlim(0.7, windows["epoch"].max() + 0.3)
                _dress(axes, quantity, first=column == 0, bottom=row == 1)
                axes.yaxis.set_label_coords(-0.36 / width, 0.5)
                if row == 0:
                    axes.set_title(titles[configuration], loc="left", fontsize=figures.FONT - 1, pad=3)
                if row == 1 and (number == len(lines) - 1 or column >= len(lines[number + 1])):
                    axes.set_xlabel("epoch")
                elif row == 1:
                    axes.tick_params(labelbottom=False)
    return page.figure


def _group_curves(windows, groups):
    """The same as _curves for groups of configurations; low and high hold the middle four fifths of the runs."""
    names = QUANTITIES + [f"val_{name}" for name in QUANTITIES]
    curves = {}
    for group in groups:
        by_epoch = group.of(windows).groupby(["device", "epoch"])[names]
        middle, low, high = (by_epoch.quantile(share) for share in (0.5, summaries.LOW, summaries.HIGH))
        table = pd.concat({"median": middle, "min": low, "max": high}, axis=1).swaplevel(axis=1)
        for device, by_epoch in table.reset_index(level="epoch").groupby(level="device", sort=False):
            curves[group, device] = by_epoch
    return curves


def _highest_loss(windows):
    """Upper end of the loss axes: a few diverging runs must not flatten all others."""
    losses = windows[["loss", "val_loss"]].stack().dropna()
    return min(losses.max(), 4 * losses.quantile(0.9)) * 1.05 if len(losses) else 1.0


def _curves(windows):
    """{(configuration, device): table by epoch} with the median, min and max over replicates of every quantity."""
    grouped = windows.groupby([*naming.AXES, "device", "epoch"])[QUANTITIES + [f"val_{name}" for name in QUANTITIES]]
    table = grouped.agg(["median", "min", "max"]).reset_index(level="epoch")
    return {
        (tuple(key[:-1]), key[-1]): by_epoch
        for key, by_epoch in table.groupby(level=list(range(len(naming.AXES) + 1)), sort=False)
    }


def _draw_curves(axes, curves, configuration, quantity, devices):
    drawn = False
    for device in devices:
        by_epoch = curves.get((configuration, device.name))
        if by_epoch is None:
            continue
        for column, style in ((quantity, "--"), (f"val_{quantity}", "-")):
            curve = by_epoch[column].assign(epoch=by_epoch["epoch"].to_numpy()).dropna(subset="median")
            if curve.empty:
                continue
            drawn = True
            solid = style == "-"
            axes.plot(
                curve["epoch"],
                curve["median"],
                linestyle=style,
                marker=device.mark if solid else None,
                markersize=3,
                markeredgewidth=0,
                linewidth=1.4 if solid else 1.0,
                color=device.color,
                zorder=3,
            )
            if (curve["max"] > curve["min"]).any():
                axes.fill_between(
                    curve["epoch"], curve["min"], curve["max"], color=device.color, alpha=0.15, linewidth=0, zorder=2
                )
    if not drawn:
        axes.text(
            0.5,
            0.5,
            "no epoch finished",
            transform=axes.transAxes,
            ha="center",
            va="center",
            fontsize=figures.FONT - 1,
            color=palette.QUIET,
        )


def _dress(axes, quantity, first, bottom):
    axes.grid(axis="y")
    axes.tick_params(length=0, pad=2, labelsize=figures.FONT - 1.5)
    axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(matplotlib.ticker.MaxNLocator(4))
    if quantity == "accuracy":
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "", "50%", "", "100%"])
    if first:
        axes.set_ylabel(quantity, fontsize=figures.FONT - 1, labelpad=2)
    else:
        axes.set_yticklabels([])
    if not bottom:
        axes.tick_params(labelbottom=False)


def _fold(text, width):
    """Breaks a panel's title between values; where it is of one axis alone, between words."""
    max_letters = max(10, int(width / figures.text_width("x", figures.FONT - 1)))
    if " · " not in text:
        return textwrap.fill(palette.clean(text), max_letters)
    glued = palette.clean(text).replace(" · ", "\t").replace(" ", "\u00a0").replace("\t", "\u00a0· ")
    return "\n".join(line.removesuffix("\u00a0·") for line in textwrap.wrap(glued, max_letters))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))

"""Figure: every run as one cell, with how it ended."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff.analyze import cells
from trainoff.report import figures, findings, palette, saving, summaries
from trainoff.shapes import Values
from trainoff.workflow.script import logged


def draw(runs: pd.DataFrame, devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name and label in the order of the experiment."""
    shown = palette.devices_in(devices, runs)
    configurations = naming.all_configurations(runs)
    if summaries.too_many(configurations):
        return draw_shares(runs, shown, configurations)
    varying = naming.varying_axes(configurations)
    names = [
        palette.clean(naming.label(configuration, varying) or "the one configuration")
        for configuration in configurations
    ]
    replicates = sorted(runs["replicate"].unique())
    columns = [(device, replicate) for device in shown for replicate in replicates]
    narrow = figures.is_narrow()
    left = figures.EDGE + (0 if narrow else max(map(figures.text_width, names)) + 0.12)
    between = 0.1
    free = figures.WIDTH - left - figures.EDGE - between * (len(shown) - 1)
    cell = min(1.6 if len(replicates) == 1 else 1.0, free / len(columns))
    # On a phone a row's name is above its cells.
    above = 0.2 if narrow else 0.0
    tall = 0.23
    row = tall + above
    slant = cell * len(replicates) < max(figures.text_width(device.label) for device in shown) + 0.05
    head = (0.3 + 0.62 * max(figures.text_width(device.label) for device in shown)) if slant else 0.3
    several = len(replicates) > 1
    head += 0.18 if several else 0
    page = figures.frame(
        figures.Heading(
            findings.matrix_title(runs),
            naming.constant_text(configurations),
            ["Every run has a cell, failed runs included. The table of runs gives the reasons."],
            _key(runs),
        ),
        head + row * len(configurations) + 0.05,
    )
    axes = page.axes(0, 0, figures.WIDTH, head + row * len(configurations))
    axes.set_axis_off()
    axes.set_xlim(0, figures.WIDTH)
    axes.set_ylim(head + row * len(configurations), 0)
    places = {}
    for number, (device, replicate) in enumerate(columns):
        x = left + number * cell + between * (number // len(replicates))
        places[device.name, replicate] = x
        if several:
            axes.text(
                x + cell / 2,
                head - 0.05,
                str(replicate),
                ha="center",
                va="bottom",
                fontsize=figures.FONT - 1,
                color=palette.QUIET,
            )
    for device in shown:
        _name_device(
            axes,
            device,
            places[device.name, replicates[0]],
            head - (0.22 if several else 0.06),
            cell * len(replicates),
            slant,
        )
    if several and not narrow:
        axes.text(
            left - 0.12,
            head - 0.05,
            "replicate",
            ha="right",
            va="bottom",
            fontsize=figures.FONT - 1,
            color=palette.QUIET,
        )
    for number, name in enumerate(names):
        if narrow:
            axes.text(left, head + number * row + 0.11, name, ha="left", va="center", fontsize=figures.FONT - 0.5)
        else:
            axes.text(
                left - 0.12, head + (number + 0.5) * row, name, ha="right", va="center", fontsize=figures.FONT - 0.5
            )
    rows = {configuration: number for number, configuration in enumerate(configurations)}
    drawn = set()
    for run in runs.to_dict("records"):
        place = rows[naming.configuration_of(run)], run["device"], run["replicate"]
        drawn.add(place)
        _draw_run(axes, places[place[1:]], head + place[0] * row + above, cell, tall, run)
    for number in range(len(configurations)):
        for key, x in places.items():
            if (number, *key) not in drawn:
                axes.text(
                    x + cell / 2,
                    head + number * row + above + tall / 2,
                    "not run" if cell > 0.5 else "·",
                    ha="center",
                    va="center",
                    fontsize=figures.FONT - 1,
                    color=palette.QUIET,
                )
    return page.figure


def draw_shares(runs: pd.DataFrame, devices: list[palette.Device], configurations: list[Values]) -> Figure:
    """The figure for many configurations: what share of the runs ended how, for every value of every axis."""
    page, groups = summaries.sheet(
        findings.matrix_title(runs),
        configurations,
        [
            f"{len(runs):,} runs are too many for a cell each: the parts of a bar show how the runs of a row and device "
            "ended, as shares. The table of runs gives each with its reason."
        ],
        len(devices),
        "share of the runs",
        _key(runs),
    )
    axes, _ = page.panels[0]
    longest = max(len(device.label) for device in devices) + len(f": {len(runs):,} of {len(runs):,} ok")
    text_share = figures.text_width("x" * longest, figures.FONT - 1) / (axes.get_position().width * figures.WIDTH)
    axes.set_xlim(0, 1 / max(0.3, 0.97 - text_share))
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
    for place, group in enumerate(groups):
        group_runs = group.of(runs)
        for lane, device in enumerate(devices):
            counts = group_runs.loc[group_runs["device"] == device.name, "status"].value_counts()
            total, left = int(counts.sum()), 0.0
            for status, (color, _, _) in palette.STATUSES.items():
                share = int(counts.get(status, 0)) / total if total else 0.0
                if share:
                    height = page.lane * 0.72
                    axes.barh(page.y(place, lane), share, left=left, height=height, color=color, linewidth=0)
                left += share
            text = f"{int(counts.get('ok', 0)):,} of {total:,} ok" if total else "not run"
            figures.write_beside(axes, left, page.y(place, lane), f"{device.label}: {text}")
    return page.frame.figure


def _key(runs):
    counts = runs["status"].value_counts()
    return [
        (color, mark, f"{text}: {int(counts[status])}")
        for status, (color, mark, text) in palette.STATUSES.items()
        if status in counts
    ]


def _name_device(axes, device, x, y, width, slant):
    label = palette.clean(device.label)
    if slant:
        axes.plot([x + width / 2], [y - 0.06], device.mark, color=device.color, markersize=5)
        axes.text(
            x + width / 2,
            y - 0.16,
            label,
            rotation=40,
            rotation_mode="anchor",
            ha="left",
            va="center",
            fontsize=figures.FONT - 0.5,
        )
        return
    half = figures.text_width(label, figures.FONT - 0.5) / 2
    axes.plot([x + width / 2 - half - 0.06], [y - 0.065], device.mark, color=device.color, markersize=5)
    axes.text(x + width / 2 + 0.05, y, label, ha="center", va="bottom", fontsize=figures.FONT - 0.5)


def _draw_run(axes, x, y, cell, row, run):
    color, mark, _ = palette.STATUSES[run["status"]]
    good = run["status"] == "ok"
    gap = 0.02
    axes.add_patch(
        figures.plt.Rectangle(
            (x + gap, y + gap), cell - 2 * gap, row - 2 * gap, linewidth=0, facecolor=palette.PALE if good else color
        )
    )
    text = "ok" if good else cells.status_text(run["status"], run["signal"])
    if not good and cell > figures.text_width(text, figures.FONT - 1) + 0.25:
        half = figures.text_width(text, figures.FONT - 1) / 2
        axes.text(
            x + cell / 2 + 0.07,
            y + row / 2,
            text,
            ha="center",
            va="center",
            fontsize=figures.FONT - 1,
            color=palette.ON_COLOR,
        )
        at = x + cell / 2 - half - 0.02
    else:
        at = x + cell / 2
    axes.plot(
        [at],
        [y + row / 2],
        mark,
        color=color if good else palette.ON_COLOR,
        markersize=4 if good else 5,
        markeredgewidth=1.5 if mark == "_" else 0,
    )


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))

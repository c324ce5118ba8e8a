"""Figure: our range of training speeds above, other people's published figures below, on one axis and clearly apart."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze import published as others
from trainoff.report import figures, findings, palette, saving
from trainoff.workflow.script import logged


def draw(rates: pd.DataFrame, published: str | Path, devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name and label in the order of the experiment."""
    table = others.read(published)
    shown = palette.devices_in(devices, rates)
    ours = findings.rates_by_device(rates, shown)
    theirs = others.nearest(table, rates).sort_values("images_per_second", ascending=False)
    rows = theirs.to_dict("records")
    theirs_names = {number: _name(row) for number, row in enumerate(rows)}
    ours_names = {f"ours-{number}": device.label for number, (device, *_) in enumerate(ours)}
    groups = [("Measured here", list(ours_names))]
    groups += [("Published by others, under their own conditions", list(theirs_names))]
    sheet = figures.rows(
        figures.Heading(
            "Others measured under other conditions, so their figures give a range and no ratio",
            "",
            [
                f"Measured here: {naming.constant_text(naming.all_configurations(rates))}.",
                "Above: lowest to highest median speed over the configurations measured here. Below: one published figure each; "
                "model, image size, batch, precision and software differ. The page lists the sources.",
            ],
        ),
        [group for group in groups if group[1]],
        {**ours_names, **theirs_names},
        1,
        "training images per second (logarithmic)",
        columns=1,
    )
    ends = [*theirs["images_per_second"], *(end for _, low, high, _ in ours for end in (low, high))]
    labels = [(row["images_per_second"], _as_published(row["images_per_second"])) for row in rows]
    labels += [(high, numbers.span(low, high)) for _, low, high, _ in ours]
    for axes, group in sheet.panels:
        axes.set_xscale("log")
        axes.set_xlim(figures.limits(ends, labels, axes, logarithmic=True))
        figures.plain_log_axis(axes)
        for place, name in enumerate(group):
            y = sheet.y(place)
            if name in ours_names:
                device, low, high, _ = ours[int(name.removeprefix("ours-"))]
                axes.plot([low, high], [y, y], device.mark, color=device.color, linestyle="-", linewidth=2.4)
                figures.write_beside(axes, high, y, numbers.span(low, high))
            else:
                rate = rows[name]["images_per_second"]
                axes.plot([rate], [y], "o", markerfacecolor=palette.PAPER, markeredgecolor=palette.QUIET, markersize=5)
                figures.write_beside(axes, rate, y, _as_published(rate))
    return sheet.frame.figure


def _as_published(rate):
    """A published rate with the digits its source gives."""
    return f"{rate:,.6g}"


def _name(row):
    """Device, model and what changes a speed most, short enough for a row's name."""
    parts = [row["device"], row["model"]]
    parts += [f"{row['img_dim']} px"] if not pd.isna(row["img_dim"]) else []
    parts += ["float16"] if row["precision"] == "mixed_float16" else []
    return " · ".join(parts)


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))

"""Figure: what a month costs by its number of runs, bought and rented, and from where on buying is cheaper."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze import cost
from trainoff.report import economy, figures, palette, saving
from trainoff.workflow.script import logged

HEIGHT = 3.2
POINTS = 200


def draw(break_even: pd.DataFrame, assumptions: dict[str, Any], devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name and label in the order of the experiment."""
    labels = {device["name"]: device["label"] for device in devices}
    table = economy.of_shown_configuration(break_even)
    rows = table.to_dict("records")
    title = economy.break_even_title(table, labels)
    known = [row for row in rows if numbers.known(row["rented_per_training"])]
    if not known:
        lines = economy.break_even_notes(table, labels) or [
            "This needs prices in money.prices, and an energy counter, a wall meter or declared watts."
        ]
        return figures.quiet_panel(title, " ".join(lines))
    names = dict.fromkeys([row["owned_device"] for row in known] + [row["rented_device"] for row in known])
    shown = {device.name: device for device in palette.devices_in(devices, pd.DataFrame({"device": list(names)}))}
    page = figures.frame(
        figures.Heading(
            title,
            naming.label(naming.configuration_of(rows[0]), naming.READING_ORDER),
            [
                "The runs of a month follow each other in one rental. A line ends where a month has no time for more.",
                *economy.break_even_notes(table, labels),
                *economy.assumption_lines(assumptions, list(names), labels),
            ],
            [
                *(
                    (shown[row["owned_device"]].color, "-", f"{shown[row['owned_device']].label} bought")
                    for row in _once(known, "owned")
                ),
                *(
                    (shown[row["rented_device"]].color, "--", f"{shown[row['rented_device']].label} rented")
                    for row in _once(known, "rented")
                ),
                (palette.INK, "o", "buying begins to be cheaper"),
            ],
        ),
        HEIGHT + 0.5,
    )
    axes = page.axes(0.7, 0.05, figures.WIDTH - 0.85, HEIGHT)
    axes.set_xscale("log")
    axes.set_yscale("log")
    maximum = max(
        cost.most_trainings(row[f"{way}_seconds_per_training"]) for row in known for way in ("owned", "rented")
    )
    axes.set_xlim(1, max(2, maximum))
    for row in _once(known, "owned"):
        x = _counts(row["owned_seconds_per_training"])
        y = [row["owned_per_month"] + count * row["electricity_per_training"] for count in x]
        axes.plot(x, y, "-", color=shown[row["owned_device"]].color, linewidth=1.8, zorder=3)
    for row in _once(known, "rented"):
        x = _counts(row["rented_seconds_per_training"])
        y = [max(count * row["rented_per_training"], row["minimum_rent"]) for count in x]
        axes.plot(x, y, "--", color=shown[row["rented_device"]].color, linewidth=1.8, zorder=3)
    for row in known:
        count = row["trainings_per_month"]
        if numbers.known(count):
            y = row["owned_per_month"] + count * row["electricity_per_training"]
            axes.plot([count], [y], "o", color=palette.INK, markersize=5, zorder=4)
            axes.annotate(f"{int(count):,}", (count, y), (0, 7), textcoords="offset points", ha="center", zorder=5)
    axes.set_xlabel("runs per month (logarithmic)")
    axes.set_ylabel(f"{assumptions['currency']} per month (log)")
    figures.plain_log_axes(axes)
    return page.figure


def _once(rows, way):
    """The first row of each device that is bought, or rented."""
    return list({row[f"{way}_device"]: row for row in reversed(rows)}.values())[::-1]


def _counts(seconds):
    """Numbers of runs from one to what a month has time for, evenly spread on a logarithmic axis."""
    maximum = max(1, cost.most_trainings(seconds))
    return sorted({round(maximum ** (step / (POINTS - 1))) for step in range(POINTS)})


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))

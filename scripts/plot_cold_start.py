"""Figure: what a run takes before its first timed epoch: import, build, first step."""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.report import figures, findings, palette, saving, summaries
from trainoff.workflow.script import logged

# Opacity of the device's color, so that the three parts differ in gray print too.
PARTS = {
    "import_seconds": (0.25, "import the framework"),
    "build_seconds": (0.6, "build the model, load weights"),
    "first_step_seconds": (1.0, "first training step"),
}


def draw(runs: pd.DataFrame, devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name and label in the order of the experiment."""
    shown = palette.devices_in(devices, runs)
    table = findings.cold_starts(runs)
    title = findings.cold_start_title(runs, shown)
    if table["total"].isna().all():
        return figures.quiet_panel(title, "The matrix of runs shows why.")
    configurations = naming.all_configurations(runs)
    many = summaries.too_many(configurations)
    if many:
        rows = summaries.groups(configurations)
        groups, names = [("", rows)], {group: group.name for group in rows}
        results = {(group, device.name): _medians(group.of(table), device.name) for group in rows for device in shown}
        what = f"{len(configurations):,} configurations are too many to draw one by one. Median over those of a row"
    else:
        groups, names = naming.row_names(configurations)
        results = {(naming.configuration_of(row), row["device"]): row for row in table.to_dict("records")}
        what = "Median over replicates"
    alone = len(shown) == 1
    color = shown[0].color if alone else palette.QUIET
    key = [((color, opacity), "bar", text) for opacity, text in PARTS.values()]
    key += [] if alone else [(device.color, "bar", device.label) for device in shown]
    sheet = figures.rows(
        figures.Heading(
            title,
            naming.constant_text(configurations),
            [
                f"{what}; none of this is in the training speed. The first step includes tracing and compiling the graph."
            ],
            key,
        ),
        groups,
        names,
        len(shown),
        "seconds from the start of the process",
    )
    for axes, group in sheet.panels:
        longest = max(row["total"] for row in results.values() if row and numbers.known(row["total"]))
        axes.set_xlim(figures.limits([longest], [(longest, numbers.seconds(longest))], axes, logarithmic=False))
        for lane, device in enumerate(shown):
            for place, configuration in enumerate(group):
                row = results.get((configuration, device.name))
                _draw_bar(axes, sheet.y(place, lane), sheet.lane, device, row)
    return sheet.frame.figure


def _medians(table, device):
    """One row of medians over the configurations of a group that got as far as the first step; None where none did."""
    reached = table[table["device"] == device].dropna(subset="total")
    parts = reached[list(PARTS)].median().to_dict()
    return parts | {"total": sum(parts.values())} if len(reached) else None


def _draw_bar(axes, y, lane, device, row):
    if row is None or not numbers.known(row["total"]):
        figures.draw_missing(axes, y, device, "no first step" if row else "not run")
        return
    left = 0.0
    for column, (opacity, _) in PARTS.items():
        axes.barh(y, row[column], left=left, height=lane * 0.72, color=(device.color, opacity), linewidth=0)
        left += row[column]
    figures.write_beside(axes, left, y, numbers.seconds(left))


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))

"""Figure: what was measured here in one configuration, and what is estimated for other devices, apart and by other marks."""

from collections.abc import Iterable
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.report import figures, palette, saving
from trainoff.report.estimates import rough
from trainoff.workflow.script import logged


def draw(estimates: pd.DataFrame | None, rates: pd.DataFrame, devices: list[dict[str, Any]]) -> Figure:
    """The figure; `devices` are dicts with name and label in the order of the experiment."""
    if estimates is None or estimates.empty:
        return figures.quiet_panel("No device is estimated", "The experiment names none under `predict:`.")
    measured = rates.dropna(subset="images_per_second")
    lead = naming.all_configurations(measured if len(measured) else estimates)[0]
    shown = {device.name: device for device in palette.devices_in(devices, measured)}
    ours = {row["device"]: row for row in measured.to_dict("records") if naming.configuration_of(row) == lead}
    elsewhere = [row for row in estimates.to_dict("records") if row["status"] != "measured"]
    theirs = {f"estimate:{row['device']}": row for row in elsewhere if naming.configuration_of(row) == lead}
    groups = [("Measured here", list(ours)), ("Estimated from published figures", list(theirs))]
    sheet = figures.rows(
        figures.Heading(
            title(theirs.values()),
            naming.label(lead, naming.READING_ORDER),
            [
                "Filled: measured. Hollow: estimated, with the range that held 9 of 10 figures that the method had not seen."
            ],
        ),
        [group for group in groups if group[1]],
        {name: shown[name].label for name in ours} | {name: row["label"] for name, row in theirs.items()},
        1,
        "training images per second (logarithmic)",
        columns=1,
    )
    known = [row for row in theirs.values() if row["status"] == "estimated"]
    ends = [row["images_per_second"] for row in ours.values()] + [row[end] for row in known for end in ("low", "high")]
    texts = [(row["images_per_second"], numbers.significant(row["images_per_second"])) for row in ours.values()]
    texts += [(row["high"], _about(row)) for row in known]
    for axes, group in sheet.panels:
        axes.set_xscale("log")
        axes.set_xlim(figures.limits(ends or [1, 10], texts, axes, logarithmic=True))
        figures.plain_log_axis(axes)
        for place, name in enumerate(group):
            y = sheet.y(place)
            if name in ours:
                speed = ours[name]["images_per_second"]
                axes.plot([speed], [y], shown[name].mark, color=shown[name].color, markersize=5)
                figures.write_beside(axes, speed, y, numbers.significant(speed))
            elif theirs[name]["status"] == "estimated":
                _draw_estimate(axes, y, theirs[name])
            else:
                too_large = theirs[name]["status"] == "too_large"
                figures.draw_missing(axes, y, None, "does not fit into its memory" if too_large else "no estimate")
    return sheet.frame.figure


def _about(row):
    return f"about {rough(row['images_per_second'])}"


def _draw_estimate(axes, y, row):
    hollow = {"markerfacecolor": palette.PAPER, "markeredgecolor": palette.QUIET, "markersize": 5}
    axes.plot([row["low"], row["high"]], [y, y], color=palette.QUIET, linestyle=(0, (2, 2)), linewidth=1.2)
    axes.plot([row["images_per_second"]], [y], "o", **hollow)
    figures.write_beside(axes, row["high"], y, _about(row))


def title(rows: Iterable[dict[str, Any]]) -> str:
    """The finding: from where to where the estimates run."""
    known = [row for row in rows if row["status"] == "estimated"]
    if not known:
        return "None of these devices can be estimated"
    slow, fast = (pick(known, key=lambda row: row["images_per_second"]) for pick in (min, max))
    if slow is fast:
        return f"{slow['label']}: estimated at {_about(slow)} images per second"
    return f"Estimates run from {_about(slow)} images per second ({slow['label']}) to {_about(fast)} ({fast['label']})"


if __name__ == "__main__":
    with logged(snakemake.log[0]):
        saving.figure(draw, dict(snakemake.input.items()), snakemake.params.options, dict(snakemake.output.items()))

"""What the figure of step time against batch size says in words."""

from typing import Any

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.analyze.overhead import REST
from trainoff.report.palette import Device


def title(overhead: pd.DataFrame, crossings: pd.DataFrame, devices: list[Device]) -> str:
    """Which device wins from which batch size on, or at all that were measured; else the overheads. Both are tables.

    No batch size is named outside those measured, where the fitted lines are a guess.
    """
    labels = {device.name: device.label for device in devices}
    if not labels:
        return "Overhead and time per image were not measured"
    rows = crossings[crossings["device"].isin(labels) & crossings["baseline"].isin(labels)].to_dict("records")
    configurations = naming.all_configurations(overhead, REST)
    return (
        _change(rows, labels, configurations) or _always(rows, labels, configurations) or _overheads(overhead, labels)
    )


def _change(rows: list[dict[str, Any]], labels: dict[str, str], configurations: list[tuple]) -> str:
    """The largest batch size at which the faster device changes; "" if none is certain."""
    changes = [
        row
        for row in rows
        if row["overheads_differ"] and row["smallest_batch_size"] < row["from_batch_size"] <= row["largest_batch_size"]
    ]
    if not changes:
        return ""
    row = max(changes, key=lambda row: row["from_batch_size"])
    loser = row["baseline"] if row["wins"] == row["device"] else row["device"]
    where = _where([row], configurations)
    return f"{labels[row['wins']]} is faster than {labels[loser]} from batch size {row['from_batch_size']} on{where}"


def _always(rows: list[dict[str, Any]], labels: dict[str, str], configurations: list[tuple]) -> str:
    """The device that is faster than most others at all batch sizes; "" if there is none."""
    beaten = {}
    for row in rows:
        if numbers.known(winner := row["faster_at_all"]):
            loser = row["baseline"] if winner == row["device"] else row["device"]
            beaten.setdefault(winner, {}).setdefault(loser, []).append(row)
    if not beaten:
        return ""
    winner, losers = max(beaten.items(), key=lambda item: (len(item[1]), sum(map(len, item[1].values()))))
    most = max(map(len, losers.values()))
    # Those beaten in as many configurations, and preferably in no other configuration the faster ones.
    names = [name for name in labels if len(losers.get(name, [])) == most]
    lost = {name: len(beaten.get(name, {}).get(winner, [])) for name in names}
    names = [name for name in names if not lost[name]] or names[:1]
    where = _where(losers[names[0]], configurations)
    others = f", and slower in {numbers.count(lost[names[0]], 'other')}" if lost[names[0]] else ""
    beaten_labels = numbers.listing([labels[name] for name in names])
    return f"{labels[winner]} is faster than {beaten_labels} at all measured batch sizes{where}{others}"


def _where(rows, configurations):
    """The configurations of some rows, whatever the batch size; "" if they are all."""
    if len(rows) == len(configurations):
        return ""
    if len(rows) > 1:
        return f" in {len(rows)} of {len(configurations)} configurations"
    varying = naming.varying_axes(configurations, REST)
    return f" ({naming.label(naming.configuration_of(rows[0], REST), varying, REST)})"


def _overheads(overhead, labels):
    middle = overhead.groupby("device")[["overhead_seconds", "overhead_low"]].median()
    overheads = {name: 1000 * row["overhead_seconds"] for name, row in middle.iterrows() if row["overhead_low"] > 0}
    if not overheads:
        return "The overhead of a step is too small to distinguish from noise"
    parts = [f"{label} {overheads[name]:.2g} ms" for name, label in labels.items() if name in overheads]
    hidden = [label for name, label in labels.items() if name not in overheads]
    rest = f"; too small to distinguish from noise on {numbers.listing(hidden[:3])}" if hidden else ""
    return f"Overhead of a step: {numbers.listing(parts[:4])}{rest}"

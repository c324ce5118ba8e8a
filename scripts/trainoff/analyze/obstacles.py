"""What stands in the way of comparing two results, what must be known beside their ratio, and the flags of their runs.

A result is a dict as scripts/compare_devices.py gathers it: `runs`, those `used`, and its `rate`; a side is a result and its
device.
"""

import math
from collections.abc import Iterable
from typing import Any

import pandas as pd

from trainoff.analyze.reasons import reason

# What must be equal for two rates to be of the same work. A hash decides where there is one, else the name.
SAME_WORK = {
    "protocol": ["protocol_version"],
    "determinism": ["deterministic"],
    "dataset": ["dataset_sha256", "dataset"],
    "images": ["images_sha256"],
    "weights": ["weights_sha256", "weights"],
    "settings": ["settings"],
}


def obstacles(sides: list[tuple[dict[str, Any] | None, str]]) -> list[str]:
    """Why two cells cannot be compared, as reasons; empty when they can."""
    found = []
    for cell, device in sides:
        if cell is None:
            found.append(reason("no_run", device=device))
        elif not any(run["status"] == "ok" for run in cell["runs"]):
            found.append(reason("no_run_finished", device=device, counts=_counts(cell)))
        elif cell["rate"] is None:
            found.append(reason("no_epoch_counted", device=device))
    return found or [difference for name, keys in SAME_WORK.items() if (difference := _difference(sides, name, keys))]


def _difference(sides, name, keys):
    """How the runs that count differ in what `keys` hold, "" when they do not."""
    values = [{_first_known(run, keys) for run in cell["used"]} for cell, _ in sides]
    if len(values[0] | values[1]) == 1:
        return ""
    shown = [sorted(_short(value) for value in side) for side in _without_common_words(values)]
    return reason("other_work", what=name, sides={device: own for (_, device), own in zip(sides, shown, strict=True)})


def _without_common_words(values):
    """Sets of values, of which texts lose the words ("dropout=0.4") that all have: what is left is the difference."""
    texts = [value for side in values for value in side if isinstance(value, str) and " " in value]
    common = set.intersection(*(set(text.split()) for text in texts)) if len(texts) > 1 else set()

    def rest(value):
        return " ".join(word for word in value.split() if word not in common) if value in texts else value

    return [{rest(value) for value in side} for side in values]


def _first_known(run, keys):
    return next((run[key] for key in keys if not pd.isna(run.get(key))), None)


def _short(value):
    """A value for a sentence: hashes by their first digits."""
    text = "unknown" if value is None else str(value)
    return f"{text[:12]}…" if len(text) == 64 else text


def caveats(sides: list[tuple[dict[str, Any], str]]) -> list[str]:
    """What a reader must know beside a verdict."""
    own = [device for cell, device in sides if any(not pd.isna(run.get("own_script")) for run in cell["used"])]
    found = [reason("own_script", devices=own)] if own else []
    single = {device: cell["rate"] for cell, device in sides if len(cell["rate"].runs) == 1}
    if single:
        spreads = [round(math.sqrt(rate.run_variance), 4) for rate in single.values()]
        found.append(reason("one_run", devices=list(single), spreads=spreads))
    if one_epoch := [device for device, rate in single.items() if rate.windows == 1]:
        found.append(reason("one_epoch", devices=one_epoch))
    planned = max(len(cell["runs"]) for cell, _ in sides)
    for cell, device in sides:
        if len(cell["used"]) < planned:
            found.append(
                reason("fewer_replicates", device=device, used=len(cell["used"]), planned=planned, counts=_counts(cell))
            )
    for cell, device in sides:
        disturbed = sum(either([run["busy"]]) or False for run in cell["used"])
        if disturbed:
            found.append(reason("busy", device=device, busy=disturbed, runs=len(cell["used"])))
    if len({run["code_sha256"] for cell, _ in sides for run in cell["used"] if not pd.isna(run["code_sha256"])}) > 1:
        found.append(reason("other_code"))
    return found


def overall_reason(compared: int, total: int, single: int, departing: int) -> str:
    found = [] if compared == total else [reason("some_compared", compared=compared, total=total)]
    if single:
        found.append(reason("some_single", single=single, compared=compared))
    if departing:
        found.append(reason("some_mismatch", mismatched=departing, compared=compared))
    return "; ".join(found)


def _counts(cell):
    """{status: how many runs of a cell ended so}, ok first."""
    counts = {}
    for run in cell["runs"] if cell else []:
        counts[run["status"]] = counts.get(run["status"], 0) + 1
    return {status: counts[status] for status in sorted(counts, key=lambda name: (name != "ok", name))}


def status_counts(cell: dict[str, Any] | None) -> str:
    """The same for a table: "ok: 2, crashed: 1"."""
    return ", ".join(f"{status}: {count}" for status, count in _counts(cell).items())


def flag(cell: dict[str, Any] | None, name: str) -> bool | None:
    """Whether any run that counts carries the flag `name` (unstable or busy), None when that is unknown.

    A run during which the machine swapped was disturbed as one beside other programs.
    """
    own = cell["used"] if cell else []
    if name == "busy" and any(run["swapped"] is True for run in own):
        return True
    return either(run[name] for run in own)


def either(values: Iterable[bool | float | None]) -> bool | None:
    """True when any is, None when any is unknown or there is none, else False."""
    values = [None if pd.isna(value) else bool(value) for value in values]
    return True if True in values else None if None in values or not values else False

"""Everything known about each configuration on each device, failures included: the numbers and texts that figures show."""

from collections import Counter
from typing import Any

import pandas as pd

from trainoff import configurations as naming
from trainoff import numbers
from trainoff.shapes import Values

STATUS_WORDS = {
    "ok": "ok",
    "crashed": "crashed",
    "out_of_memory": "out of memory",
    "timed_out": "timed out",
    "diverged": "diverged",
    "unavailable": "device unavailable",
    "error": "error",
}

# The same words after a number of runs: "2 of 3 ran out of memory".
COUNTED_WORDS = STATUS_WORDS | {
    "out_of_memory": "ran out of memory",
    "unavailable": "found no device",
    "error": "ended in an error",
}


# What may have disturbed a run besides other programs: {column of the table of runs: flag}.
DISTURBANCES = {
    "throttled": "throttled",
    "swapped": "swapping",
    "on_battery": "on battery",
    "low_power": "low-power mode",
}


def cells(
    runs: pd.DataFrame, rates: pd.DataFrame, windows: pd.DataFrame | None = None
) -> dict[tuple[Values, str], dict[str, Any]]:
    """{(configuration, device): cell} for each that has a run.

    A cell is a dict: images_per_second, ci_low, ci_high (None if unknown), `flags` (what marks the throughput as less reliable:
    "mismatch" if the device does not train the same as the reference), `highest` (throughput of the fastest epoch, None without
    `windows`), `failures` ("1 of 3 crashed", "" without failures), `good` ("2 of 3 runs", "" without failures) and `failure` (why
    there is no throughput, in words).
    """
    speeds = {}
    for row in rates.to_dict("records"):
        flags = [flag for flag in ("unstable", "busy") if row[flag] or False]
        flags += ["mismatch"] if row["parity"] == "mismatch" else []
        speeds[naming.configuration_of(row), row["device"]] = (
            flags,
            {key: row[key] if numbers.known(row[key]) else None for key in ("images_per_second", "ci_low", "ci_high")},
        )
    highest = _highest(windows)
    result = {}
    for key, cell_runs in _groups(runs).items():
        flags, speed = speeds.get(key, ([], dict.fromkeys(("images_per_second", "ci_low", "ci_high"))))
        of_runs = {flag for run in cell_runs if run["status"] == "ok" for flag in disturbances(run)}
        result[key] = speed | {
            "flags": flags + [flag for flag in DISTURBANCES.values() if flag in of_runs],
            "highest": highest.get(key),
            "failures": failures_text(cell_runs),
            "failure": failure_text(cell_runs),
            "good": good_text(cell_runs),
        }
    return result


def disturbances(run: dict[str, Any]) -> list[str]:
    """The flags of what may have disturbed a run besides other programs. run: a row of the table."""
    known = run | {"on_battery": run["power_source"] == "battery"}
    return [flag for column, flag in DISTURBANCES.items() if numbers.known(known[column]) and known[column]]


def short_flags(cell: dict[str, Any]) -> list[str]:
    """The flags of a cell that figures write beside its value. They have no room for more."""
    return [flag for flag in cell["flags"] if flag in ("unstable", "busy", "mismatch")]


def status_text(status: str, signal: str | float | None = None) -> str:
    """A status in words, with the signal if one ended the run: "crashed (SIGSEGV)"."""
    words = STATUS_WORDS.get(status, str(status))
    return f"{words} ({signal})" if numbers.known(signal) and signal and status == "crashed" else words


def failures_text(runs: list[dict[str, Any]]) -> str:
    """How many runs failed, and how: "1 of 3 crashed"; "" if none did."""
    counts = Counter(run["status"] for run in runs if run["status"] != "ok")
    parts = [f"{number} {COUNTED_WORDS.get(status, status)}" for status, number in sorted(counts.items())]
    if len(parts) == 1:
        return f"{counts.total()} of {len(runs)} {COUNTED_WORDS.get(*counts, *counts)}"
    return f"{numbers.listing(parts)} of {len(runs)}" if parts else ""


def good_text(runs: list[dict[str, Any]]) -> str:
    """How many runs ended well: "2 of 3 runs"; "" if all did."""
    good = sum(run["status"] == "ok" for run in runs)
    return "" if good == len(runs) else f"{good} of {len(runs)} runs"


def failure_text(runs: list[dict[str, Any]]) -> str:
    """Why there is no throughput: the statuses of the runs, with signals, each once."""
    texts = {status_text(run["status"], run["signal"]): None for run in runs if run["status"] != "ok"}
    return numbers.listing(texts) or "nothing counted"


def _groups(runs):
    groups = {}
    for run in runs.sort_values("replicate").to_dict("records"):
        groups.setdefault((naming.configuration_of(run), run["device"]), []).append(run)
    return groups


def _highest(windows):
    highest = {}
    if windows is not None:
        for row in windows.to_dict("records"):
            key = naming.configuration_of(row), row["device"]
            highest[key] = max(highest.get(key, 0.0), row["images"] / row["seconds"])
    return highest

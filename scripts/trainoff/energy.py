"""The energy of one run, from its timed epochs. Standard library only, since scripts/train.py runs in every device's environment.

Joules are watts times seconds; the figure of an epoch covers exactly the images and seconds of that epoch.
"""

import statistics
from typing import Any

from trainoff.shapes import Window

# Where a figure of energy comes from; all but "declared" are measurements.
SOURCES = ("nvml", "amdsmi", "ioreport", "rapl", "wall_meter", "declared")
MEASURED = SOURCES[:-1]


def summarize(
    windows: list[Window], source: str | None, scope: str | None, idle_watts: float | None = None
) -> tuple[dict[str, Any] | None, str | None]:
    """(energy, reason): the `energy` and `energy_reason` of a metrics record, one of which is None.

    windows: dicts with images, seconds, warm_up, energy_joules and, where that is None, energy_reason. source, scope: of
    the meter; None without a meter. idle_watts: the same meter's reading of the idle machine, None when unknown.
    Only counted windows are used (warm_up false), as for the throughput. If fewer than half of them have a figure, the run
    has none.
    """
    counted = [window for window in windows if not window["warm_up"]]
    if not counted:
        return None, "No window was counted."
    known = [window for window in counted if window["energy_joules"] is not None]
    if 2 * len(known) < len(counted) or source is None:
        reasons = [window.get("energy_reason") for window in counted if window["energy_joules"] is None]
        return None, next(filter(None, reasons), "Nothing measured it.")
    above = None if idle_watts is None else statistics.median(above_idle(window, idle_watts) for window in known)
    return {
        "joules_per_image": statistics.median(window["energy_joules"] / window["images"] for window in known),
        # Zero or less above idle cannot be right: the idle reading does not fit this run.
        "joules_per_image_above_idle": above if above is None or above > 0 else None,
        "mean_watts": mean_watts(known),
        "idle_watts": idle_watts,
        "scope": scope,
        "source": source,
    }, None


def mean_watts(windows: list[Window]) -> float:
    """Mean power over windows: all their joules over all their seconds."""
    return sum(window["energy_joules"] for window in windows) / sum(window["seconds"] for window in windows)


def above_idle(window: Window, idle_watts: float) -> float:
    """Joules per image of a window, less what the idle machine would have drawn in the same time."""
    return (window["energy_joules"] - idle_watts * window["seconds"]) / window["images"]

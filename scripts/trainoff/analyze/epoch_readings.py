"""Summaries of a run's hardware readings over its counted epochs. Each function takes the windows of a record."""

from trainoff import series
from trainoff.shapes import Window

# Brief throttling now and then does not make a device slower.
THROTTLED_SHARE = 0.05


def package_watts(windows: list[Window]) -> float | None:
    """Mean power of the processor packages in watts; None if most epochs have no reading of it."""
    return _mean(windows, "package_watts")


def gpu_percent(windows: list[Window]) -> float | None:
    """Percentage of the time in which an NVIDIA GPU computed anything; None if most epochs have no reading of it."""
    return _mean(windows, "gpu_percent")


def throttled(windows: list[Window]) -> bool | None:
    """Whether the device throttled itself; None without readings of it.

    An NVIDIA GPU: for more than a twentieth of the readings. An Apple chip: under heavy thermal pressure at any time.
    """
    counted = [window.get("readings", {}) for window in windows if not window["warm_up"]]
    shares = [readings["gpu_throttled"]["mean"] for readings in counted if "gpu_throttled" in readings]
    levels = [readings["thermal_pressure"]["maximum"] for readings in counted if "thermal_pressure" in readings]
    if not shares and not levels:
        return None
    return sum(shares) > THROTTLED_SHARE * len(shares) or max(levels, default=0) >= series.HEAVY


def was_on_battery(windows: list[Window]) -> bool:
    """Whether any reading in a counted epoch said that the machine ran on its battery."""
    counted = [window.get("readings", {}) for window in windows if not window["warm_up"]]
    return any(readings["on_battery"]["maximum"] > 0 for readings in counted if "on_battery" in readings)


def _mean(windows, name):
    """Mean of a reading over the time of the counted epochs; None if most of them have no such reading."""
    counted = [window for window in windows if not window["warm_up"]]
    known = [window for window in counted if name in window.get("readings", {})]
    if not known or 2 * len(known) < len(counted):
        return None
    total = sum(window["readings"][name]["mean"] * window["seconds"] for window in known)
    return total / sum(window["seconds"] for window in known)

"""What a Mac with Apple silicon says of itself: the power of its chip, and the thermal pressure that macOS tells of. No sudo.

Read from stand-ins for Apple's libraries only so far (tests/test_readings.py).
"""

import contextlib
import ctypes
import importlib
import time
from collections.abc import Callable

from trainoff import series
from trainoff.measure import meters

SYSTEM_LIBRARY = "/usr/lib/libSystem.dylib"
# kOSThermalNotificationPressureLevelName of macOS' SDK (libkern/OSThermalNotification.h); functions of its notify(3).
THERMAL_PRESSURE = b"com.apple.system.thermalpressurelevel"


def sources() -> dict[str, Callable[[], float | None]]:
    """{reading: function that reads it}, without what this system's libraries do not give."""
    found = {}
    for name, opened in (("soc_watts", _chip_power), ("thermal_pressure", _thermal_pressure)):
        with contextlib.suppress(Exception):  # a library's own kinds of error; a reading is never a reason to end a run
            found[name] = opened()
    return found


class ChipPower:
    """Mean watts of the chip since the last call, from Apple's own estimates (IOReport); None at the first."""

    def __init__(self, monitor):
        """monitor: zeus_apple_silicon's AppleEnergyMonitor."""
        self._monitor = monitor
        self._last = None

    def __call__(self):
        at = time.monotonic()
        parts = meters.apple_parts(self._monitor.get_cumulative_energy())
        last, self._last = self._last, (at, parts)
        if last is None or at <= last[0] or parts.keys() != last[1].keys():
            return None
        watts = (sum(parts.values()) - sum(last[1].values())) / (at - last[0])
        # Counters that stand still or jump have measured nothing.
        return watts if 0 < watts < meters.MOST_WATTS else None


class ThermalPressure:
    """The level of thermal pressure: its place in series.THERMAL_LEVELS; None where the system tells none."""

    def __init__(self, library):
        """library: macOS' system library. Raises OSError where it does not tell of the pressure."""
        self._library = library
        self._token = ctypes.c_int()
        if library.notify_register_check(THERMAL_PRESSURE, ctypes.byref(self._token)):
            raise OSError("macOS does not tell of its thermal pressure")

    def __call__(self):
        level = ctypes.c_uint64()
        failed = self._library.notify_get_state(self._token, ctypes.byref(level))
        return level.value if not failed and level.value < len(series.THERMAL_LEVELS) else None


def _chip_power():
    # Only a Mac has it, with zeus[apple]; as zeus itself imports it.
    return ChipPower(importlib.import_module("zeus_apple_silicon").AppleEnergyMonitor())


def _thermal_pressure():
    return ThermalPressure(ctypes.CDLL(SYSTEM_LIBRARY))

"""Readings of a Mac with Apple silicon, without sudo: the power of its chip and the thermal pressure that macOS reports.

So far tested only with stand-ins for Apple's libraries (tests/test_readings.py).
"""

import ctypes
import importlib
import time
from collections.abc import Callable

from trainoff import series
from trainoff.machine import sensors
from trainoff.measure import meters

SYSTEM_LIBRARY = "/usr/lib/libSystem.dylib"
# kOSThermalNotificationPressureLevelName of macOS' SDK (libkern/OSThermalNotification.h); functions of its notify(3).
THERMAL_PRESSURE = b"com.apple.system.thermalpressurelevel"


def sources() -> dict[str, Callable[[], float | None]]:
    """{reading: function that reads it}, for the readings that this system's libraries provide."""
    readers = {
        "soc_watts": sensors.try_read(_chip_power),
        "thermal_pressure": sensors.try_read(_thermal_pressure),
    }
    return {name: read for name, read in readers.items() if read is not None}


class ChipPower:
    """Mean watts of the chip since the last call, from Apple's own estimates (IOReport); None at the first call."""

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
        # Counters that stand still or jump are not measurements.
        return watts if 0 < watts < meters.MOST_WATTS else None


class ThermalPressure:
    """The level of thermal pressure as an index into series.THERMAL_LEVELS; None where the system reports none."""

    def __init__(self, library):
        """library: macOS' system library. Raises OSError where it does not report thermal pressure."""
        self._library = library
        self._token = ctypes.c_int()
        if library.notify_register_check(THERMAL_PRESSURE, ctypes.byref(self._token)):
            raise OSError("macOS does not report its thermal pressure")

    def __call__(self):
        level = ctypes.c_uint64()
        failed = self._library.notify_get_state(self._token, ctypes.byref(level))
        return level.value if not failed and level.value < len(series.THERMAL_LEVELS) else None


def _chip_power():
    # Installed on Macs only, with zeus[apple]; zeus itself imports it in the same way.
    return ChipPower(importlib.import_module("zeus_apple_silicon").AppleEnergyMonitor())


def _thermal_pressure():
    return ThermalPressure(ctypes.CDLL(SYSTEM_LIBRARY))

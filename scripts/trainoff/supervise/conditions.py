"""What else the machine was doing while a run was measured: load, memory, temperature, clock, power."""

import dataclasses
import platform
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from trainoff.machine import usable

# Other programs that take more than this share of all processors can slow a run by as much: the run is flagged as busy.
# A tenth, since most machines idle at 1 to 3%.
BUSY_SHARE = 0.10
# How long the load is watched before a run.
SAMPLE_SECONDS = 1.0


@dataclasses.dataclass(frozen=True)
class Reading:
    """Counters and gauges at one moment; None where the system does not report them.

    clock_seconds: monotonic time. busy_seconds: processor time of everything on the machine. own_seconds: processor time
    of this process and of its children that have ended. stolen_seconds: time the hypervisor gave to other machines.
    """

    clock_seconds: float
    busy_seconds: float
    own_seconds: float
    stolen_seconds: float
    swapped_bytes: int
    memory_available_bytes: int
    temperature_celsius: float | None
    clock_mhz: float | None


def read() -> Reading:
    """The Reading of this moment."""
    times = psutil.cpu_times()
    swap = psutil.swap_memory()
    return Reading(
        clock_seconds=time.monotonic(),
        busy_seconds=sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq")),
        own_seconds=sum(
            usage.ru_utime + usage.ru_stime
            for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        ),
        stolen_seconds=getattr(times, "steal", 0.0),
        swapped_bytes=swap.sin + swap.sout,
        memory_available_bytes=usable.available_memory_bytes(),
        temperature_celsius=temperature(),
        clock_mhz=clock(),
    )


def other_cores(before: Reading, after: Reading) -> float | None:
    """The mean number of processors that other programs and virtual machines kept busy between two readings."""
    seconds = after.clock_seconds - before.clock_seconds
    if seconds <= 0:
        return None
    others = (after.busy_seconds - before.busy_seconds) - (after.own_seconds - before.own_seconds)
    return max(0.0, others + after.stolen_seconds - before.stolen_seconds) / seconds


def is_busy(*loads: float | None) -> bool:
    """Whether any of these loads, in processors, exceeds BUSY_SHARE of the machine; unknown loads do not count."""
    limit = BUSY_SHARE * psutil.cpu_count()
    return any(load is not None and load > limit for load in loads)


def wait_for_quiet(
    limit_seconds: float,
    notify: Callable[[str], None],
    since: Reading | None = None,
    sample: Callable[[], float | None] | None = None,
    sleep: Callable[[float], Any] = time.sleep,
) -> tuple[float | None, float]:
    """Watches the load of other programs and waits while it is high, for at most `limit_seconds`.

    Returns (processors busy with other things at the end, seconds waited beyond the first sample). notify: called with one line
    of text for the user. since: an earlier Reading at which the first sample starts, so that this process can do other work
    meanwhile. sample, sleep: how to sample and wait (for tests).
    """
    sample = sample or _sample
    started = time.monotonic()
    load = sample() if since is None else _since(since)
    waited = 0.0
    while is_busy(load) and waited < limit_seconds:
        if waited == 0.0:
            notify(
                f"waiting for other programs, which keep {load:.1f} processors busy (at most {limit_seconds / 60:.0f} min)"
            )
        sleep(min(5.0, limit_seconds))
        load = sample()
        waited = time.monotonic() - started
    return load, waited


def describe(load_before: float | None, waited_seconds: float, before: Reading, after: Reading) -> dict[str, Any]:
    """The `conditions` of a metrics record, from the readings right before and right after a run."""
    load_during = other_cores(before, after)
    return {
        "busy": is_busy(load_before, load_during),
        "other_cores_before": load_before,
        "other_cores_during": load_during,
        "waited_seconds": waited_seconds,
        "memory_available_bytes_before": before.memory_available_bytes,
        "memory_available_bytes_after": after.memory_available_bytes,
        "swapped_bytes_during": max(0, after.swapped_bytes - before.swapped_bytes),
        "temperature_celsius_before": before.temperature_celsius,
        "temperature_celsius_after": after.temperature_celsius,
        "clock_mhz_before": before.clock_mhz,
        "clock_mhz_after": after.clock_mhz,
        "power_mode": _power_mode(),
    }


def _sample():
    return _since(read())


def _since(before):
    time.sleep(max(0.0, before.clock_seconds + SAMPLE_SECONDS - time.monotonic()))
    return other_cores(before, read())


def temperature() -> float | None:
    """The hottest sensor, in degrees Celsius."""
    if not hasattr(psutil, "sensors_temperatures"):
        return None
    readings = [reading.current for group in psutil.sensors_temperatures().values() for reading in group]
    return max((value for value in readings if value and value > 0), default=None)


def clock() -> float | None:
    """The processors' clock in MHz; None where the system does not measure it."""
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError, RuntimeError):
        return None
    return frequency.current or None if frequency else None


def _power_mode():
    """The system's power setting: a Linux platform profile or frequency governor, a Mac's low power mode."""
    for path in ("/sys/firmware/acpi/platform_profile", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"):
        try:
            return Path(path).read_text().strip() or None
        except OSError:
            continue
    if platform.system() == "Darwin" and shutil.which("pmset"):
        try:
            text = subprocess.run(["pmset", "-g"], capture_output=True, text=True, timeout=10).stdout
        except (OSError, subprocess.TimeoutExpired):
            return None
        for line in text.splitlines():
            name, _, value = line.strip().partition(" ")
            if name in ("lowpowermode", "powermode"):
                return f"{name} {value.strip()}"
    return None

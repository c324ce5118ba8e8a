"""What else the machine was doing while a run was measured: load, memory, temperature, clock, power."""

import dataclasses
import platform
import re
import resource
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from trainoff.machine import sensors, usable

# Other programs that take more than this share of a run's processors can slow it by as much: the run is flagged as busy.
# A tenth, since most machines idle at 1 to 3%.
BUSY_SHARE = 0.10
# How long the load is watched before a run.
SAMPLE_SECONDS = 1.0
# Sensors of processors, by the names of Linux' drivers and thermal zones. Others belong to disks, radios or nothing at all.
CPU_SENSOR = re.compile(r"coretemp|k8temp|k10temp|zenpower|via_cputemp|x86_pkg_temp|(cpu|soc)[\d_-]*thermal")


@dataclasses.dataclass(frozen=True)
class Reading:
    """Counters and gauges at one moment; None where the system does not report them.

    clock_seconds: monotonic time. processors: those of which the processor time is, None for all of the machine.
    busy_seconds: processor time of everything on them. own_seconds: processor time of this process and of its children that
    have ended. stolen_seconds: time the hypervisor gave to other machines.
    """

    clock_seconds: float
    processors: tuple[int, ...] | None
    busy_seconds: float | None
    own_seconds: float
    stolen_seconds: float
    swapped_bytes: int | None
    memory_available_bytes: int | None
    temperature_celsius: float | None
    clock_mhz: float | None


def read() -> Reading:
    """The Reading of this moment."""
    processors = sensors.try_read(_own_processors)
    times = sensors.try_read(lambda: _processor_times(processors)) or []
    busy = [getattr(of_one, name, 0.0) for of_one in times for name in ("user", "nice", "system", "irq", "softirq")]
    return Reading(
        clock_seconds=time.monotonic(),
        processors=processors,
        busy_seconds=sum(busy) if times else None,
        own_seconds=sum(
            usage.ru_utime + usage.ru_stime
            for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        ),
        stolen_seconds=sum(getattr(of_one, "steal", 0.0) for of_one in times),
        swapped_bytes=swapped_bytes(),
        memory_available_bytes=sensors.try_read(usable.available_memory_bytes),
        temperature_celsius=temperature(),
        clock_mhz=clock(),
    )


def _own_processors():
    """The logical processors that a run may run on; None where these are all of the machine, or cannot be told apart.

    A quota limits how long they are used, not which.
    """
    allowed, online = usable.allowed_processors(), usable.online_processors()
    fewer = 0 < len(allowed) < len(online) and set(allowed) <= set(online)
    # Some containers show the times of their own processors under new numbers.
    return tuple(allowed) if fewer and len(psutil.cpu_times(percpu=True)) == len(online) else None


def _processor_times(processors):
    """psutil's times of each of these processors, or [those of all processors together] for None."""
    if processors is None:
        return [psutil.cpu_times()]
    times = dict(zip(usable.online_processors(), psutil.cpu_times(percpu=True), strict=True))
    return [times[processor] for processor in processors]


def other_cores(before: Reading, after: Reading) -> float | None:
    """The mean number of processors that other programs and virtual machines kept busy between two readings.

    Of the processors that the run may run on; None where these changed.
    """
    seconds = after.clock_seconds - before.clock_seconds
    if seconds <= 0 or None in (before.busy_seconds, after.busy_seconds) or before.processors != after.processors:
        return None
    others = (after.busy_seconds - before.busy_seconds) - (after.own_seconds - before.own_seconds)
    return max(0.0, others + after.stolen_seconds - before.stolen_seconds) / seconds


def is_busy(*loads: float | None) -> bool:
    """Whether any of these loads, in processors, exceeds BUSY_SHARE of the run's; unknown loads do not count."""
    limit = BUSY_SHARE * (len(sensors.try_read(_own_processors) or ()) or psutil.cpu_count() or 1)
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
        "swapped_bytes_during": swapped_between(before.swapped_bytes, after.swapped_bytes),
        "temperature_celsius_before": before.temperature_celsius,
        "temperature_celsius_after": after.temperature_celsius,
        "clock_mhz_before": before.clock_mhz,
        "clock_mhz_after": after.clock_mhz,
        "power_mode": sensors.try_read(_power_mode),
    }


def _sample():
    return _since(read())


def _since(before):
    time.sleep(max(0.0, before.clock_seconds + SAMPLE_SECONDS - time.monotonic()))
    return other_cores(before, read())


def swapped_bytes() -> int | None:
    """Bytes that moved between memory and swap, both ways, since the machine started; None where they are unknown."""
    return sensors.try_read(_swapped_by_vm_stat if platform.system() == "Darwin" else _swapped_by_psutil)


def swapped_between(before: int | None, after: int | None) -> int | None:
    """Bytes swapped between two values of `swapped_bytes`; None where one is unknown."""
    return None if before is None or after is None else max(0, after - before)


def _swapped_by_psutil():
    swap = psutil.swap_memory()
    return swap.sin + swap.sout


def _swapped_by_vm_stat():
    """On a Mac, where psutil counts every page that is read from a file, such as a library."""
    text = subprocess.run(["vm_stat"], capture_output=True, text=True, timeout=10, check=True).stdout
    page_bytes = int(re.search(r"page size of (\d+) bytes", text)[1])
    return page_bytes * sum(int(re.search(rf"^{name}:\s+(\d+)", text, re.M)[1]) for name in ("Swapins", "Swapouts"))


def temperature() -> float | None:
    """The hottest sensor of the processors, in degrees Celsius; None where no sensor is known to be of them."""
    groups = sensors.try_read(lambda: psutil.sensors_temperatures()) or {}
    readings = [reading.current for name, group in groups.items() if CPU_SENSOR.fullmatch(name) for reading in group]
    return max((value for value in readings if value and value > 0), default=None)


def clock() -> float | None:
    """The processors' clock in MHz; None where it is not measured, as on a Mac, where psutil tells the maximum."""
    frequency = None if platform.system() == "Darwin" else sensors.try_read(lambda: psutil.cpu_freq())
    return frequency.current or None if frequency else None


def _power_mode():
    """The system's power setting: a Linux platform profile or frequency governor, a Mac's low power mode."""
    for path in ("/sys/firmware/acpi/platform_profile", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"):
        try:
            return Path(path).read_text().strip() or None
        except OSError:
            continue
    if platform.system() == "Darwin" and shutil.which("pmset"):
        text = subprocess.run(["pmset", "-g"], capture_output=True, text=True, timeout=10).stdout
        for line in text.splitlines():
            name, _, value = line.strip().partition(" ")
            if name in ("lowpowermode", "powermode"):
                return f"{name} {value.strip()}"
    return None

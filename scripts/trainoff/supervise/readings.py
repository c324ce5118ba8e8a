"""Readings of the machine, taken once a second while a training runs, by the supervising process and never inside the training.

Host: clock, temperature, load, memory, swap, battery, power of the processor packages. NVIDIA GPU: utilization, clocks,
temperature, power and its limit, memory, and throttling. Apple chip: power and thermal pressure. Readings that a machine does
not provide are left out.
"""

import contextlib
import csv
import gzip
import io
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from trainoff.files import whole
from trainoff.machine import devices, sensors
from trainoff.measure import meters
from trainoff.shapes import Reading
from trainoff.supervise import apple, conditions

INTERVAL_SECONDS = 1.0
# How long a finished training waits for a reading that does not return, as calls of a driver that hangs.
PATIENCE_SECONDS = 5.0
# Reasons for lower clocks that the user did not choose: power cap, hardware, thermal and power-brake slowdown.
# https://docs.nvidia.com/deploy/nvml-api/group__nvmlClocksEventReasons.html
THROTTLED = 0x4 | 0x8 | 0x20 | 0x40 | 0x80


class Readings:
    """Readings taken in a thread for the duration of the block.

    names: of the readings, with units. samples: (time on the monotonic clock, values in the order of the names, None where
    a value could not be read).
    """

    def __init__(self, device):
        """device: as in params.run."""
        self.names, self.samples = [], []
        self._done = threading.Event()
        # A driver that hangs does so from the first call, so that even the sources are opened in the thread.
        self._thread = threading.Thread(target=self._read_on, args=[device], daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join(PATIENCE_SECONDS)
        # A copy, to which a reading that returns only now does not add.
        self.samples = self.samples[:]

    def _read_on(self, device):
        samples, sources = self.samples, _sources(device)
        self.names = list(sources)
        while True:
            samples.append((time.monotonic(), tuple(map(_value, sources.values()))))
            if self._done.wait(INTERVAL_SECONDS):
                return

    def between(self, start: float, end: float) -> dict[str, Reading]:
        """{name: {"mean", "maximum"}} of the known samples between two times on the monotonic clock."""
        rows = [values for at, values in self.samples if start <= at <= end]
        columns = {name: [row[place] for row in rows] for place, name in enumerate(self.names)}
        known = {name: [value for value in values if value is not None] for name, values in columns.items()}
        return {
            name: {"mean": sum(values) / len(values), "maximum": max(values)}
            for name, values in known.items()
            if values
        }

    def write(self, path: str | Path, epochs: Sequence[tuple[int, float, float]] = ()) -> None:
        """Writes the series to `path` (CSV, gzip): seconds since the first sample, the current epoch, and the readings.

        epochs: (number, start, end) of each on the monotonic clock; samples between epochs have none.
        """
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        known = [
            place for place in range(len(self.names)) if any(values[place] is not None for _, values in self.samples)
        ]
        table.writerow(["seconds", "epoch", *(self.names[place] for place in known)])
        first = self.samples[0][0] if self.samples else 0.0
        for at, values in self.samples:
            epoch = next((number for number, start, end in epochs if start <= at <= end), "")
            table.writerow(
                [
                    f"{at - first:.1f}",
                    epoch,
                    *("" if values[place] is None else f"{values[place]:.6g}" for place in known),
                ]
            )
        with whole(path) as temporary, gzip.GzipFile(temporary, "wb", mtime=0) as file:
            file.write(text.getvalue().encode())


def _value(read):
    """The current value of a source; None where there is none, which is no number either."""
    return sensors.try_read(lambda: float(read()))


def _sources(device):
    """{name: function that reads it}"""
    return {
        **_host(),
        **_package(meters.RAPL_FOLDER),
        **(apple.sources() if devices.is_apple_silicon() else {}),
        **(_gpu(device["index"]) if device["accelerator"] == "cuda" else {}),
    }


def _host():
    """The same for the host."""
    return {
        "cpu_mhz": conditions.clock,
        "cpu_celsius": conditions.temperature,
        "load_cores": lambda: psutil.getloadavg()[0],
        "memory_used_bytes": lambda: psutil.virtual_memory().used,
        "swap_used_bytes": lambda: psutil.swap_memory().used,
        "on_battery": lambda: {"battery": 1.0, "mains": 0.0}.get(sensors.power_source()),
    }


class PackagePower:
    """Mean watts of all processor packages since the last call, from the counters of Linux' RAPL; None at the first call."""

    def __init__(self, zones):
        """zones: folders of packages, from meters.package_zones."""
        self._zones = zones
        self._last = None

    def __call__(self):
        at = time.monotonic()
        joules = [int((zone / "energy_uj").read_text()) / 1e6 for zone in self._zones]
        last, self._last = self._last, (at, joules)
        if last is None or at <= last[0]:
            return None
        drawn = [now - before for now, before in zip(joules, last[1], strict=True)]
        # A counter wraps to 0 at the end of its range.
        drawn = [
            value if value >= 0 else value + self._range(zone) for value, zone in zip(drawn, self._zones, strict=True)
        ]
        watts = sum(drawn) / (at - last[0])
        # A counter that stands still, as in some virtual machines, is not a measurement.
        return watts if min(drawn) > 0 and watts < meters.MOST_WATTS else None

    @staticmethod
    def _range(zone) -> float:
        return int((zone / "max_energy_range_uj").read_text()) / 1e6


def _package(folder):
    """The same for the power of the processor packages; {} where there are no counters or they may not be read."""
    with contextlib.suppress(OSError):
        zones = meters.package_zones(folder)
        if zones and all((zone / "energy_uj").read_text() for zone in zones):
            return {"package_watts": PackagePower(zones)}
    return {}


def _gpu(index):
    """The same for the NVIDIA GPU of that index; {} where its driver's library is missing or fails."""
    with contextlib.suppress(Exception):
        import pynvml as nvml

        nvml.nvmlInit()
        gpu = nvml.nvmlDeviceGetHandleByUUID(devices.nvidia_gpus()[index]["uuid"])
        return {
            "gpu_percent": lambda: nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
            "gpu_mhz": lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),
            "gpu_memory_mhz": lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM),
            "gpu_celsius": lambda: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
            "gpu_watts": lambda: nvml.nvmlDeviceGetPowerUsage(gpu) / 1000,
            "gpu_watts_limit": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000,
            "gpu_memory_used_bytes": lambda: nvml.nvmlDeviceGetMemoryInfo(gpu).used,
            "gpu_throttled": lambda: bool(_clock_reasons(nvml, gpu) & THROTTLED),
        }
    return {}


def _clock_reasons(nvml, gpu):
    """Why the GPU's clocks are low, as bits. Drivers before version 535 know only the function's old name.

    NVIDIA's Python package has both names with every driver: only a call shows whether the driver has the function.
    """
    try:
        return nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu)
    except Exception:
        return nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)

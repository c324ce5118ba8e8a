"""Energy counters, read over a window through zeus: NVIDIA's NVML, AMD's SMI, Apple's IOReport, Linux' RAPL.

Only the training process and the one that watches the idle machine come here, and zeus is imported only where a counter
can exist. Nothing is synchronized and nothing is timed: the caller starts the meter before its clock and stops it after.
zeus raises nothing where it has no meter, it returns empty values; here these are unknown, never zero.
"""

import contextlib
import dataclasses
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from trainoff.machine import devices, nvidia

RAPL_FOLDER = Path("/sys/class/powercap/intel-rapl")
# A window must hold this many updates of its counter, as MLPerf's power rules ask of samples; the error of its two ends
# is then at most about 3 %.
LEAST_UPDATES = 60
# No machine with one training device draws this much: a counter that jumped.
MOST_WATTS = 20_000.0
_KEY = "window"


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a counter is: who gives it, what it covers, and how often it moves at the slowest."""

    source: str
    scope: str
    update_seconds: float


NVML = Kind("nvml", "gpu", 0.1)  # 20 to 100 ms by model
AMDSMI = Kind("amdsmi", "gpu", 0.1)  # not documented: taken as slow as NVML
IOREPORT = Kind("ioreport", "soc", 0.1)  # not documented: taken as slow as NVML
RAPL = Kind("rapl", "package", 0.001)  # Intel's manual, volume 3B: about a millisecond

# Fields of zeus' Apple measurement, in millijoules, that together are the chip. Cores and clusters are in cpu_total_mj.
APPLE_PARTS = ("cpu_total_mj", "gpu_mj", "gpu_sram_mj", "dram_mj", "ane_mj")


class Meter:
    """The counter of one device: start(), some work, stop(seconds)."""

    def __init__(self, monitor, kind, parts, needed):
        """monitor: zeus' ZeusMonitor. parts: gives {part: joules} of its measurement. needed: parts that training uses."""
        self.monitor = monitor
        self.kind = kind
        self.parts = parts
        self.needed = needed

    def start(self) -> None:
        """Begins a window."""
        try:
            # zeus would import torch to synchronize; the caller has done so.
            self.monitor.begin_window(_KEY, sync_execution=False, restart=True)
        except Exception as error:  # a broken meter must not end a training
            print(f"The energy counter failed at the start of a window: {error!r}")

    def stop(self, seconds: float, training: bool = True) -> tuple[float | None, str | None]:
        """(joules, None) of the window that ends, which took `seconds`; (None, reason) where there is no such figure.

        training: a part of the device that training uses must have drawn something; an idle one need not.
        """
        try:
            parts = self.parts(self.monitor.end_window(_KEY, sync_execution=False))
        except Exception as error:
            return None, f"The energy counter ({self.kind.source}) failed: {type(error).__name__}: {error}."
        return judged(parts, seconds, self.kind, self.needed if training else ())


class NoMeter:
    """Stands in where there is no counter."""

    kind = None

    def __init__(self, reason):
        self.reason = reason

    def start(self) -> None:
        pass

    def stop(self, seconds: float, training: bool = True) -> tuple[None, str]:
        return None, self.reason


def facts(meter: Meter | NoMeter) -> dict[str, str | None]:
    """{"source", "scope"} of a meter; None where there is none."""
    return {"source": meter.kind and meter.kind.source, "scope": meter.kind and meter.kind.scope}


def judged(
    parts: dict[str, float], seconds: float, kind: Kind, needed: Collection[str] = ()
) -> tuple[float | None, str | None]:
    """(joules, None) of a counter's reading over a window, or (None, reason in a sentence) where it cannot be one.

    parts: {part: joules} in what it covers, unknown ones left out. seconds: length of the window. kind: Kind. needed:
    names of parts that must have drawn something.
    """
    if not parts:
        return None, f"The energy counter ({kind.source}) gave no reading."
    joules = sum(parts.values())
    zero = [name for name, value in parts.items() if value < 0 or (name in needed and value == 0)]
    missing = [name for name in needed if name not in parts]
    if missing:
        return None, f"The energy counter ({kind.source}) gave no reading of the {missing[0]}."
    if zero or joules <= 0:
        name = zero[0] if zero else "device"
        return None, (
            f"The energy counter ({kind.source}) read {parts.get(name, joules):g} J of the {name} over {seconds:.1f} s: that is "
            "a fault of the meter, not a result."
        )
    if seconds < LEAST_UPDATES * kind.update_seconds:
        return None, (
            f"A window of {seconds:.2g} s is too short for the energy counter ({kind.source}), which may move only every "
            f"{kind.update_seconds:g} s: {LEAST_UPDATES} updates take {LEAST_UPDATES * kind.update_seconds:g} s. Raise "
            "protocol.images_per_epoch."
        )
    if joules / seconds > MOST_WATTS:
        return None, (
            f"The energy counter ({kind.source}) read {joules / seconds:,.0f} W over {seconds:.1f} s: that is a fault of the "
            "meter, not a result."
        )
    return joules, None


def absent(accelerator: str) -> str | None:
    """Why this machine cannot have a counter for such a device, in a sentence; None where it may have one."""
    if accelerator != "cpu" or devices.is_apple_silicon():
        return None
    if not RAPL_FOLDER.is_dir():
        return (
            f"This machine shows no energy counter of its processor ({RAPL_FOLDER} is not there, as in most virtual machines "
            "and containers). A wall meter would measure it: see energy.wall_meters."
        )
    zones = package_zones(RAPL_FOLDER)
    if not zones:
        return f"{RAPL_FOLDER} counts no processor package. A wall meter would measure it: see energy.wall_meters."
    counter = zones[0] / "energy_uj"
    if not os.access(counter, os.R_OK) and not os.environ.get("ZEUSD_SOCK_PATH"):
        return (
            f"The processor's energy counter, {counter}, may be read by root alone. A udev rule opens it: see "
            "docs/energy.md."
        )
    return None


def package_zones(folder: Path) -> list[Path]:
    """RAPL zones that are a processor package, in the order of their numbers.

    `psys` is a zone of the same rank that holds the package again, so adding up all zones would count it twice.
    """
    zones = [path for path in folder.glob("intel-rapl:*") if path.name.count(":") == 1]
    zones.sort(key=lambda path: int(path.name.split(":")[1]))
    return [path for path in zones if (path / "name").read_text().strip().startswith("package")]


def open_meter(accelerator: str) -> Meter | NoMeter:
    """The Meter of the device that this process may use, or a NoMeter that knows why there is none.

    The process must run under the variables of devices.environment, by which it sees one GPU alone, or none.
    """
    reason = absent(accelerator)
    if reason:
        return NoMeter(reason)
    if nvidia.is_slice(os.environ.get("CUDA_VISIBLE_DEVICES", "")):
        return NoMeter(
            "The energy of a slice (MIG) of a GPU is not known: the counter covers the whole card, with what its other slices do."
        )
    try:
        if devices.is_apple_silicon():
            return _apple_meter(accelerator)
        return _rapl_meter() if accelerator == "cpu" else _gpu_meter()
    except ImportError as error:
        return NoMeter(f"zeus, which reads energy counters, is not installed beside the framework ({error}).")
    except Exception as error:
        return NoMeter(f"The energy counter could not be opened: {type(error).__name__}: {error}.")


def _gpu_meter():
    from zeus.device import get_gpus
    from zeus.monitor import ZeusMonitor

    with _visible_by_number():
        gpus = get_gpus()
    if not gpus.supports_get_total_energy_consumption(0):
        return NoMeter("This GPU has no energy counter; NVIDIA's have one from Volta on.")
    kind = AMDSMI if type(gpus).__name__.startswith("AMD") else NVML
    if getattr(gpus.gpus[0], "_is_grace_hopper", False):
        kind = dataclasses.replace(kind, scope="soc")  # NVIDIA's counter is then about the whole module
    monitor = ZeusMonitor(gpu_indices=[0], cpu_indices=[])
    return Meter(monitor, kind, lambda found: {"gpu": found.gpu_energy[0]} if found.gpu_energy else {}, needed=("gpu",))


@contextlib.contextmanager
def _visible_by_number():
    """Names the visible GPU by its number in the driver's order meanwhile: zeus reads no other names."""
    visible = os.environ.pop("CUDA_VISIBLE_DEVICES", None)
    try:
        if visible is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = str(_number_of(visible))
        yield
    finally:
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        if visible is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible


def _number_of(uuid):
    """The driver's number of a GPU. It is not the place in nvidia-smi's list, which leaves out a GPU that is lost."""
    import pynvml

    pynvml.nvmlInit()
    try:
        return pynvml.nvmlDeviceGetIndex(pynvml.nvmlDeviceGetHandleByUUID(uuid))
    finally:
        pynvml.nvmlShutdown()


def _rapl_meter():
    from zeus.device import get_cpus
    from zeus.monitor import ZeusMonitor

    packages = {zone.name for zone in package_zones(RAPL_FOLDER)}
    indices = [place for place, cpu in enumerate(get_cpus().cpus) if f"intel-rapl:{cpu.cpu_index}" in packages]
    monitor = ZeusMonitor(gpu_indices=[], cpu_indices=indices)
    names = {place: f"package-{place}" for place in indices}
    meter = Meter(
        monitor,
        RAPL,
        lambda found: {names[place]: joules for place, joules in (found.cpu_energy or {}).items()},
        needed=tuple(names.values()),
    )
    # The first reading starts the process that watches the counter wrap around: not in anyone's window.
    meter.start()
    meter.stop(1.0)
    return meter


def _apple_meter(accelerator):
    from zeus.device import get_soc
    from zeus.monitor import ZeusMonitor

    get_soc()  # raises where ZeusMonitor would go on without
    monitor = ZeusMonitor(gpu_indices=[], cpu_indices=[])
    needed = ("cpu",) if accelerator == "cpu" else ("cpu", "gpu")
    return Meter(monitor, IOREPORT, lambda found: apple_parts(found.soc_energy), needed)


def apple_parts(measurement: Any) -> dict[str, float]:
    """{part: joules} of zeus' Apple measurement, whose fields are millijoules; fields that the chip lacks are left out."""
    values = {name: getattr(measurement, name, None) for name in APPLE_PARTS}
    return {
        name.removesuffix("_mj").removesuffix("_total"): millijoules / 1000
        for name, millijoules in values.items()
        if millijoules is not None
    }

"""Which devices this machine has and what they are, without importing a framework."""

import os
import platform
import subprocess
from typing import Any

import psutil

from trainoff.errors import UserError
from trainoff.machine import inventory, nvidia, usable
from trainoff.shapes import Device

THREAD_VARIABLES = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"]


class DeviceUnavailable(UserError):
    """The device of a run cannot be used here: the run is recorded as `unavailable`."""


def is_apple_silicon() -> bool:
    return platform.system() == "Darwin" and platform.machine() == "arm64"


def nvidia_gpus() -> list[dict[str, Any]]:
    """One dict per NVIDIA GPU or slice that this process may use: uuid, name, memory_bytes, driver, compute_capability.

    In the driver's order, or, where CUDA_VISIBLE_DEVICES is set, those that it names, in its order.
    """
    return nvidia.allowed(nvidia.listing().cards, os.environ.get("CUDA_VISIBLE_DEVICES"))


def environment(device: Device) -> dict[str, str]:
    """The environment variables with which a process sees exactly the device of an entry, whatever its framework would pick.

    Snakemake limits the threads of a job to its cores; these variables set the threads of the device instead.
    """
    backend, accelerator = device["backend"], device["accelerator"]
    threads = str(device["threads"] or usable_threads())
    variables = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "1", **dict.fromkeys(THREAD_VARIABLES, threads)}
    if accelerator == "cuda":
        gpus = nvidia_gpus()
        variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        if device["index"] < len(gpus):
            variables["CUDA_VISIBLE_DEVICES"] = gpus[device["index"]]["uuid"]
    else:
        variables["CUDA_VISIBLE_DEVICES"] = ""
    if backend == "torch":
        variables["KERAS_TORCH_DEVICE"] = "mps" if accelerator == "metal" else accelerator
    if backend == "jax":
        variables["JAX_PLATFORMS"] = accelerator
        variables["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"  # allocate memory on demand, like the other frameworks
        variables["NPROC"] = threads  # sets the size of XLA's thread pool
    return variables


def require(accelerator: str, index: int) -> None:
    """Raises DeviceUnavailable when this machine clearly lacks the device, before a framework is imported for it."""
    if accelerator == "cuda":
        count = len(nvidia_gpus())
        if index >= count:
            raise DeviceUnavailable(
                f"This machine has {count} usable NVIDIA GPU(s), and the device has index {index}. "
                f"{inventory.unusable(inventory.read())}"
            )
    if accelerator == "metal" and not is_apple_silicon():
        raise DeviceUnavailable(
            f"An Apple GPU needs a Mac with Apple silicon; this is {platform.system()} on {platform.machine()}. "
            "Remove the device from `devices:`."
        )


def usable_threads() -> int:
    """The number of logical processors that this process can keep busy, also in a container or a job."""
    return usable.processors()


def describe(accelerator: str, index: int) -> dict[str, Any]:
    """Facts about the device from the operating system: name, memory_bytes, cores, driver; None where unknown."""
    if accelerator == "cuda":
        facts = nvidia_gpus()[index]
        return {"cores": None, **{key: facts[key] for key in ("name", "memory_bytes", "driver", "compute_capability")}}
    if accelerator == "metal":
        return {
            "name": cpu_name(),
            "memory_bytes": usable.memory_bytes(),  # shared with the CPU
            "cores": _apple_gpu_cores(),
            "driver": f"macOS {platform.mac_ver()[0]}",
        }
    return {
        "name": cpu_name(),
        "memory_bytes": usable.memory_bytes(),
        "cores": psutil.cpu_count(logical=False),
        "driver": None,
    }


def describe_host() -> dict[str, Any]:
    """The `host` part of a metrics record: the machine and its usable part, without a user name or host name."""
    return {
        "machine": platform.machine(),
        "os": _os_name(),
        "cpu": cpu_name(),
        "logical_processors": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        **usable.facts(),
        "power_source": power_source(),
        "virtual": is_virtual(),
    }


def is_virtual() -> bool | None:
    """Whether this is a virtual machine; None where it is unknown."""
    if platform.system() == "Darwin":
        answer = _output("sysctl", "-n", "kern.hv_vmm_present")
        return {"0": False, "1": True}.get(answer)
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            flags = next((line.split() for line in file if line.startswith("flags")), None)
    except OSError:
        return None
    return None if flags is None else "hypervisor" in flags


def power_source() -> str | None:
    """ "mains" or "battery"; None where it is unknown, as on most desktops and servers."""
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if battery is None or battery.power_plugged is None:
        return None
    return "mains" if battery.power_plugged else "battery"


def cpu_name() -> str | None:
    """The processor's brand, such as "Apple M1" or "AMD EPYC 7B13"; None when it is unknown."""
    if platform.system() == "Darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string")
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip() or None
    except OSError:
        pass
    return platform.processor() or None


def _apple_gpu_cores():
    for line in (_output("system_profiler", "SPDisplaysDataType") or "").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "Total Number of Cores" and value.strip().isdigit():
            return int(value)
    return None


def _os_name():
    if platform.system() == "Darwin":
        return f"macOS {platform.mac_ver()[0]}"
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return platform.system() or None


def _output(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None

"""Which devices this machine has and what they are, without importing a framework."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil

from trainoff.errors import UserError
from trainoff.machine import inventory, numbering, nvidia, sensors, usable
from trainoff.shapes import Device

THREAD_VARIABLES = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"]


class DeviceUnavailable(UserError):
    """The device of a run cannot be used here: the run is recorded as `unavailable`."""


def is_apple_silicon() -> bool:
    return platform.system() == "Darwin" and platform.machine() == "arm64"


def nvidia_gpus() -> dict[int, dict[str, Any]]:
    """{index: GPU} of the NVIDIA GPUs and slices that this process may use, each with uuid, name, memory_bytes, driver and
    compute_capability.

    Counted when the sweep started, in the driver's order or, where CUDA_VISIBLE_DEVICES is set, in its order.
    """
    return numbering.by_index(nvidia.allowed(nvidia.listing().cards, os.environ.get("CUDA_VISIBLE_DEVICES")))


def gpu_uuid(device: Device) -> str:
    """UUID of the NVIDIA GPU or slice of an entry; "" for other devices and for a GPU that is missing."""
    if device["accelerator"] != "cuda":
        return ""
    return nvidia_gpus().get(device["index"], {"uuid": ""})["uuid"]


def environment(device: Device) -> dict[str, str]:
    """The environment variables with which a process sees exactly the device of an entry, whatever its framework would pick.

    Snakemake limits the threads of a job to its cores; these variables set the threads of the device instead.
    """
    backend, accelerator = device["backend"], device["accelerator"]
    threads = str(device["threads"] or usable_threads())
    variables = {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "1", **dict.fromkeys(THREAD_VARIABLES, threads)}
    # Without its GPU, a process must not see the others.
    variables["CUDA_VISIBLE_DEVICES"] = gpu_uuid(device)
    if accelerator == "cuda":
        variables["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
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
        machine = inventory.read()
        gpus = numbering.by_index(machine.gpus)
        if index not in gpus:
            raise DeviceUnavailable(_missing(machine, gpus, index))
    if accelerator == "metal" and not is_apple_silicon():
        raise DeviceUnavailable(
            f"An Apple GPU needs a Mac with Apple silicon; this is {platform.system()} on {platform.machine()}. "
            "Remove the device from `devices:`."
        )


def _missing(machine, gpus, index):
    """Why there is no GPU of that index, with the fix. gpus: the present ones by index."""
    name = numbering.name_at_start(index)
    if name is None:
        return (
            f"This machine has {len(gpus)} usable NVIDIA GPU(s), and the device has index {index}. "
            f"{inventory.unusable(machine)}"
        )
    return f"{name} (index {index}) was there when the sweep started, and is missing now. " + (
        machine.failure or "If it dropped out, the kernel log says why: restart the machine, and start the sweep again."
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


def describe_named(name: str | None) -> dict[str, Any]:
    """The same for the NVIDIA GPU that a framework calls `name`, of whatever index: a fact in which GPUs of that name differ is
    None. None: for a framework that does not say it.
    """
    gpus = [gpu for gpu in nvidia.allowed(nvidia.listing().cards, None) if name in (None, gpu["name"])]
    facts = {"name": name, "cores": None}
    for key in ("name", "memory_bytes", "driver", "compute_capability"):
        values = {gpu[key] for gpu in gpus}
        facts[key] = values.pop() if len(values) == 1 else facts.get(key)
    return facts


def describe_host() -> dict[str, Any]:
    """The `host` part of a metrics record: the machine and its usable part, without a user name or host name."""
    return {
        "machine": platform.machine(),
        "os": _os_name(),
        "cpu": cpu_name(),
        "logical_processors": psutil.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
        **usable.facts(),
        "power_source": sensors.power_source(),
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


def cpu_name(root: str | Path = "/") -> str | None:
    """The processor's brand, such as "Apple M1" or "AMD EPYC 7B13"; None when it is unknown. root: for tests."""
    if platform.system() == "Darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string")
    try:
        with open(Path(root, "proc/cpuinfo"), encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip() or None
    except OSError:
        pass
    return _arm_cpu_name() or platform.processor() or None


def _arm_cpu_name():
    """ "Neoverse-V2", or "Cortex-X925 + Cortex-A725" if cores differ. Of Arm, Linux tells only numbers, which lscpu knows."""
    pairs = [line.partition(":") for line in (_output("lscpu") or "").splitlines()]
    names = [name.strip() for key, _, name in pairs if key.strip() == "Model name"]
    return " + ".join(name for name in dict.fromkeys(names) if name.strip("-"))


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
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=True, env=os.environ | {"LC_ALL": "C"}
        )
        return done.stdout.strip() or None
    except (OSError, subprocess.SubprocessError):
        return None

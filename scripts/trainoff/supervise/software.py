"""Whether the software of this environment can train on the device, judged from package metadata without importing any."""

import importlib.metadata
import platform
import re
from collections.abc import Callable
from typing import Any

from trainoff.machine import choosing, devices, gpu_support
from trainoff.machine.devices import DeviceUnavailable
from trainoff.machine.gpu_support import NAMES as PACKAGES
from trainoff.machine.nvidia import numbers as _numbers
from trainoff.machine.packages import installed_version
from trainoff.shapes import Device

# Compute capabilities that number formats need (NVIDIA, CUDA C++ Programming Guide, "Arithmetic Instructions").
MIN_CAPABILITY = {"mixed_float16": (5, 3), "mixed_bfloat16": (8, 0)}
# CUDA 13 no longer serves Maxwell, Pascal and Volta, and wants driver 580 or later; CUDA 12 wants 525 (NVIDIA, CUDA
# Toolkit 13.0 Release Notes, read 2026-11).
CUDA_13_CAPABILITY = (7, 5)
MIN_DRIVER = {12: 525, 13: 580}
# From this version on, cuDNN for CUDA 12 does not support GPUs before Turing either (NVIDIA, cuDNN support matrix 9.24).
CUDNN_FROM_TURING = (9, 12)


def require(device: Device, precision: str) -> None:
    """Raises DeviceUnavailable with one sentence when the installed packages cannot train on `device` at this precision.

    device: an entry's name, backend, accelerator and index; precision: a value of the axis.
    """
    gpu = devices.nvidia_gpus().get(device["index"]) if device["accelerator"] == "cuda" else None
    own_list = gpu_support.own_list_of_tensorflow() if device["backend"] == "tensorflow" else None
    problem = find_problem(device, precision, installed_version, _requirements, gpu, own_list, platform.machine())
    if problem:
        raise DeviceUnavailable(problem)


def find_problem(
    device: Device,
    precision: str,
    version: Callable[[str], str | None],
    requirements: Callable[[str], list[str]],
    gpu: dict[str, Any] | None,
    own_list: tuple[str, ...] | None = None,
    processor: str = "x86_64",
) -> str | None:
    """One sentence on the first incompatibility, with the fix, or None.

    version: returns a package's version, None when it is not installed; requirements: returns a package's requirements.
    gpu: a dict of devices.nvidia_gpus for a CUDA device, else None. own_list: what the installed TensorFlow was built for,
    from gpu_support.own_list_of_tensorflow. processor: from platform.machine.
    """
    backend, accelerator = device["backend"], device["accelerator"]
    for package in (backend, "keras"):
        if version(package) is None:
            if gpu and (problem := _pinned_problem(backend, gpu, processor)):
                return problem
            return (
                f"{PACKAGES.get(package, 'Keras')} is not installed in this environment, and {device['name']} needs it. "
                f"Run `make environment DEVICES={device['name']}`, or use conda: snakemake --cores 1 --use-conda."
            )
    return (
        (_metal_problem(accelerator, version) if backend == "tensorflow" else None)
        or (accelerator == "cuda" and _cuda_problem(backend, version, requirements, gpu or {}, own_list, processor))
        or (gpu and _precision_problem(precision, gpu))
        or None
    )


def _metal_problem(accelerator, version):
    plugin, tensorflow = version("tensorflow-metal"), version("tensorflow")
    if plugin and not (2, 18) <= _numbers(tensorflow)[:2] < (2, 20):
        # TensorFlow loads every installed plugin, so this breaks its import for the CPU as well.
        return (
            f"tensorflow-metal {plugin} breaks TensorFlow {tensorflow}: it works with TensorFlow 2.18 and 2.19 only. "
            "Install tensorflow==2.19.1, or remove tensorflow-metal to train on the CPU."
        )
    if accelerator == "metal" and not plugin:
        return (
            "tensorflow-metal is not installed in this environment, so TensorFlow sees no Apple GPU. "
            "Install tensorflow-metal==1.2.0 with tensorflow==2.19.1; `make environment` does that."
        )
    return None


def _cuda_problem(backend, version, requirements, gpu, own_list, processor):
    cuda = _cuda_of(backend, version, requirements)
    if problem := _kernel_problem(backend, version, cuda, gpu, own_list, processor):
        return problem
    if cuda is None:
        return None if backend == "tensorflow" else _no_cuda(backend, version)
    capability, driver = gpu.get("compute_capability"), gpu.get("driver")
    if cuda >= 13 and capability and _numbers(capability) < CUDA_13_CAPABILITY:
        return (
            f"{PACKAGES[backend]} {version(backend)} is built for CUDA {cuda}, which no longer serves {gpu['name']} (compute "
            f"capability {capability}; CUDA 13 needs 7.5 or later). Use the device `cuda` (TensorFlow on CUDA 12) for this GPU."
        )
    if driver and _numbers(driver) and _numbers(driver)[0] < MIN_DRIVER.get(cuda, 0):
        return (
            f"The NVIDIA driver {driver} is too old for {PACKAGES[backend]} {version(backend)}, which uses CUDA {cuda}. "
            f"Install driver {MIN_DRIVER[cuda]} or later."
        )
    return None


def _kernel_problem(backend, version, cuda, gpu, own_list, processor):
    """Why the build cannot run on the GPU, by its own list of kernels, or by the table if it is the pinned build; else None."""
    capability = gpu.get("compute_capability")
    if own_list == ():
        return (
            f"TensorFlow {version('tensorflow')} is a CPU build here: there is none for NVIDIA GPUs on {processor}. "
            "Use the device `cuda-torch` (PyTorch)."
        )
    if not capability:
        return None
    pinned = gpu_support.builds(processor)
    kernels = own_list or next(
        (
            build.capabilities
            for build in pinned
            if (build.framework, build.version, build.cuda) == (backend, version(backend).partition("+")[0], cuda)
        ),
        None,
    )
    if backend == "jax" and _numbers(version("nvidia-cudnn-cu12") or "") < CUDNN_FROM_TURING:
        kernels = None  # XLA compiles for the GPU at hand; the table lists the limits of the pinned cuDNN
    if not kernels or gpu_support.serves(kernels, capability):
        return None
    return (
        f"{PACKAGES[backend]} {version(backend)} has kernels for compute capability {gpu_support.span(kernels)}, and "
        f"{gpu['name']} has {capability}. {_other_device(backend, gpu, pinned)}"
    )


def _pinned_problem(backend, gpu, processor):
    """Why installing the framework would not help on this GPU; None where it would."""
    pinned = gpu_support.builds(processor)
    build = next((build for build in pinned if build.framework == backend), None)
    reason = gpu_support.obstacle(build, gpu) if build else None
    return reason and f"{reason}, for {gpu['name']}. {_other_device(backend, gpu, pinned)}"


def _other_device(backend, gpu, pinned):
    """A sentence on the device entry to use for this GPU. pinned: the builds for this processor."""
    others = [build for build in pinned if build.framework != backend and not gpu_support.obstacle(build, gpu)]
    if not others:
        return "No framework here supports it: remove the device from `devices:`."
    return f"Use the device `{choosing.ON_NVIDIA[others[0].framework]}` ({others[0].title}) for this GPU."


def _cuda_of(backend, version, requirements):
    """The major version of CUDA that the installed framework uses; None for a build without CUDA."""
    if backend == "jax":
        return next((number for number in (13, 12) if version(f"jax-cuda{number}-plugin")), None)
    if backend == "tensorflow":
        return 12 if version("nvidia-cudnn-cu12") else None
    if "+cpu" in version("torch"):
        return None
    versions = re.findall(r"cu(?:da)?[-_]?(12|13)\b|cuda-toolkit\D*(12|13)\.", " ".join(requirements("torch")))
    return max((int(a or b) for a, b in versions), default=None)


def _no_cuda(backend, version):
    return (
        f"{PACKAGES[backend]} {version(backend)} is a CPU build here. Run `make environment DEVICES=cuda-{backend}`, or use "
        "conda: snakemake --cores 1 --use-conda."
    )


def _precision_problem(precision, gpu):
    minimum, capability = MIN_CAPABILITY.get(precision), gpu.get("compute_capability")
    if minimum and capability and _numbers(capability) < minimum:
        return (
            f"{gpu['name']} has compute capability {capability}; {precision} needs {minimum[0]}.{minimum[1]} or later. Give the "
            "device an override in its entry, such as grid: {precision: [float32]}."
        )
    return None


def _requirements(package):
    return importlib.metadata.requires(package) or []

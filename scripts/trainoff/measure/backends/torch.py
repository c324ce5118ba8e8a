"""PyTorch under Keras: on a CPU, on an NVIDIA GPU, and on an Apple GPU as MPS."""

from collections.abc import Callable, Iterator
from typing import Any

from trainoff.machine import gpu_support
from trainoff.machine.devices import DeviceUnavailable
from trainoff.measure.backends import leave_out_tensorflow
from trainoff.measure.batches import ahead

BATCHES_AHEAD = 2


def start(accelerator: str, threads: int | None) -> None:
    """Imports PyTorch; the device that Keras gives its tensors to is in the environment (devices.environment).

    accelerator: "cpu", "cuda" or "metal"; threads: for computing on a CPU, None = all.
    Raises DeviceUnavailable when PyTorch does not see that device.
    """
    import torch

    leave_out_tensorflow()
    present = {
        "cpu": lambda: True,
        "cuda": torch.cuda.is_available,
        "metal": torch.backends.mps.is_available,
    }
    if not present[accelerator]():
        raise DeviceUnavailable(
            f"PyTorch {torch.__version__} sees no {accelerator} device here. Check the driver and the environment that the "
            "device's `env` names: a CPU build of PyTorch has no GPU."
        )
    if accelerator == "cuda":
        require_kernels(torch)
    if threads:
        torch.set_num_threads(threads)


def require_kernels(torch: Any) -> None:
    """Raises DeviceUnavailable when this build of PyTorch says itself that it holds no kernels for the GPU."""
    kernels = torch.cuda.get_arch_list()
    capability = ".".join(map(str, torch.cuda.get_device_capability(0)))
    if kernels and not gpu_support.serves(gpu_support.of_names(kernels), capability):
        raise DeviceUnavailable(
            f"PyTorch {torch.__version__} holds kernels for {', '.join(kernels)}, and {torch.cuda.get_device_name(0)} has "
            f"compute capability {capability}. See catalog/gpu-support.csv for what serves it."
        )


def describe(accelerator: str) -> dict[str, str | None]:
    """{} for a CPU and for MPS, name, compute capability and the CUDA that PyTorch was built for on NVIDIA."""
    import torch

    if accelerator != "cuda":
        return {}
    return {
        "name": torch.cuda.get_device_name(0),
        "compute_capability": ".".join(map(str, torch.cuda.get_device_capability(0))),
        "cuda": torch.version.cuda,
    }


def placement(model: Any) -> set[str]:
    """The kinds of device that hold the model's trainable variables: a subset of {"cpu", "gpu"}."""
    kinds = {variable.value.device.type for variable in model.trainable_variables}
    return {"gpu" if kind in ("cuda", "mps") else kind for kind in kinds}


def synchronize(model: Any) -> None:
    """Returns when all work given to the device is done. On a CPU PyTorch computes before it returns."""
    import torch

    kind = model.trainable_variables[-1].value.device.type
    if kind == "cuda":
        torch.cuda.synchronize()
    elif kind == "mps":
        torch.mps.synchronize()


def jit_compile(xla: bool) -> bool:
    """Always off: Keras would hand the step to torch.compile, which is not XLA. The experiment's check refuses `xla`."""
    return False


def prepare_training(model: Any) -> None:
    """Nothing to do: PyTorch runs each step as it stands."""


def peak_memory(model: Any) -> int | None:
    """Bytes of the device's memory that PyTorch has held at most; on an Apple GPU those that it holds now, since it keeps them.

    None on a CPU, whose memory is the process's.
    """
    import torch

    kind = model.trainable_variables[-1].value.device.type
    if kind == "cuda":
        return torch.cuda.max_memory_reserved()
    return torch.mps.driver_allocated_memory() if kind == "mps" else None


def make_deterministic() -> None:
    """Every operation gives the same bits for the same inputs; one that cannot raises an error."""
    import os

    import torch

    # NVIDIA's matrix products repeat themselves only with workspaces of a fixed size.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)


def feed_training(
    batches: Callable[[], Iterator[Any]], batch_size: int, shape: tuple[int, ...], dtype: str
) -> Iterator[Any]:
    """A generator over the endless batches that `batches()` starts."""
    return ahead(batches(), BATCHES_AHEAD)


def feed_validation(batches: Callable[[], Iterator[Any]], shape: tuple[int, ...], dtype: str) -> Iterator[Any]:
    """A generator over one pass that `batches()` starts."""
    return ahead(batches(), BATCHES_AHEAD)

"""JAX under Keras: on a CPU and on an NVIDIA GPU. JAX always compiles with XLA."""

from collections.abc import Callable, Iterator
from typing import Any

from trainoff.errors import UserError
from trainoff.machine.devices import DeviceUnavailable
from trainoff.measure.backends import leave_out_tensorflow
from trainoff.measure.batches import ahead

BATCHES_AHEAD = 2


def start(accelerator: str, threads: int | None) -> None:
    """Imports JAX, which the environment allows one platform (devices.environment).

    accelerator: "cpu" or "cuda"; threads: set in the environment as well.
    Raises DeviceUnavailable when JAX does not see that device.
    """
    import jax

    try:
        jax.devices()
    except RuntimeError as error:
        raise DeviceUnavailable(
            f"JAX {jax.__version__} sees no {accelerator} device here ({str(error).splitlines()[0]}). Check the driver and the "
            "environment that the device's `env` names: jax without its CUDA plugin has no GPU."
        ) from error
    leave_out_tensorflow()


def describe(accelerator: str) -> dict[str, str | None]:
    """{} for a CPU, name and compute capability for CUDA."""
    import jax

    if accelerator != "cuda":
        return {}
    device = jax.devices()[0]
    return {"name": device.device_kind, "compute_capability": getattr(device, "compute_capability", None)}


def placement(model: Any) -> set[str]:
    """The kinds of device that hold the model's trainable variables: a subset of {"cpu", "gpu"}."""
    return {device.platform for variable in model.trainable_variables for device in variable.value.devices()}


def synchronize(model: Any) -> None:
    """Returns when all work given to the device is done: JAX hands out arrays before they are computed."""
    import jax

    jax.block_until_ready([variable.value for variable in model.variables])


def jit_compile(xla: bool) -> bool:
    """Always on: without it Keras would run JAX operation by operation, which nobody trains with."""
    return True


def prepare_training(model: Any) -> None:
    """Nothing to do: Keras compiles the step at its first call."""


def peak_memory(model: Any) -> int | None:
    """Bytes of the device's memory that JAX has used at most; None on a CPU, whose memory is the process's."""
    import jax

    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def make_deterministic() -> None:
    """On a CPU XLA computes in a fixed order as it is. Raises UserError on a GPU, where that must be asked for at the start."""
    import jax

    if jax.default_backend() != "cpu":
        raise UserError(
            "deterministic: true: JAX cannot be told so on a GPU once it has started. Set it to false, or leave the device out."
        )


def feed_training(
    batches: Callable[[], Iterator[Any]], batch_size: int, shape: tuple[int, ...], dtype: str
) -> Iterator[Any]:
    """A generator over the endless batches that `batches()` starts."""
    return ahead(batches(), BATCHES_AHEAD)


def feed_validation(batches: Callable[[], Iterator[Any]], shape: tuple[int, ...], dtype: str) -> Iterator[Any]:
    """A generator over one pass that `batches()` starts."""
    return ahead(batches(), BATCHES_AHEAD)

"""TensorFlow under Keras."""

from collections.abc import Callable, Iterator
from typing import Any

from trainoff.machine.devices import DeviceUnavailable

# Batches kept ready ahead of the device. Two hide the reading of one batch behind the training on another; more would
# only let the work done between two timed windows grow.
BATCHES_AHEAD = 2


def start(accelerator: str, threads: int | None) -> None:
    """Imports TensorFlow so that it sees one device alone.

    accelerator: "cpu", "cuda" or "metal"; threads: for computing on a CPU, None = all.
    Raises DeviceUnavailable when TensorFlow does not see that device.
    """
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if accelerator == "cpu":
        tf.config.set_visible_devices([], "GPU")
    else:
        if not gpus:
            raise DeviceUnavailable(
                f"TensorFlow {tf.__version__} sees no GPU here, so there is no {accelerator} device for it. Check the driver "
                "and the environment that the device's `env` names."
            )
        tf.config.set_visible_devices(gpus[0], "GPU")
        if accelerator == "cuda":
            tf.config.experimental.set_memory_growth(gpus[0], True)
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)


def describe(accelerator: str) -> dict[str, str | None]:
    """{} for a CPU and for Metal, name and compute capability for CUDA."""
    import tensorflow as tf

    if accelerator != "cuda":
        return {}
    details = tf.config.experimental.get_device_details(tf.config.get_visible_devices("GPU")[0])
    capability = details.get("compute_capability")
    return {
        "name": details.get("device_name"),
        "compute_capability": ".".join(map(str, capability)) if capability else None,
    }


def placement(model: Any) -> set[str]:
    """The kinds of device that hold the model's trainable variables: a subset of {"cpu", "gpu"}."""
    return {variable.value.device.rsplit(":", 2)[-2].lower() for variable in model.trainable_variables}


def synchronize(model: Any) -> None:
    """Returns when all work given to the device is done: a variable that the last step wrote is read back."""
    model.trainable_variables[-1].value.numpy()


def jit_compile(xla: bool) -> bool:
    """Said outright, since Keras' "auto" would compile on some devices and not on others."""
    return xla


def prepare_training(model: Any) -> None:
    """Makes the function that `fit` calls for each step, traced once.

    Keras' own traces the step twice, once for itself and once for a loop that one step per execution does not need;
    that is several seconds of Python at the start of every run, for the same step.
    """
    import tensorflow as tf

    model.optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step, jit_compile=True) if model.jit_compile else model.train_step
    model.train_function = tf.function(lambda iterator: step(iterator.get_next()))


def peak_memory(model: Any) -> int | None:
    """Bytes of the device's memory that TensorFlow has used at most.

    None on a CPU, whose memory is the process's, and on an Apple GPU, where TensorFlow does not count it.
    """
    import tensorflow as tf

    if not tf.config.get_visible_devices("GPU"):
        return None
    try:
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] or None
    except (ValueError, RuntimeError, tf.errors.OpError):
        return None


def make_deterministic() -> None:
    """Every operation gives the same bits for the same inputs; one that cannot raises an error."""
    import tensorflow as tf

    tf.config.experimental.enable_op_determinism()


def feed_training(batches: Callable[[], Iterator[Any]], batch_size: int, shape: tuple[int, ...], dtype: str) -> Any:
    """A tf.data.Dataset over the endless batches that `batches()` starts."""
    return _dataset(batches, batch_size, shape, dtype)


def feed_validation(batches: Callable[[], Iterator[Any]], shape: tuple[int, ...], dtype: str) -> Any:
    """A tf.data.Dataset over one pass that `batches()` starts."""
    return _dataset(batches, None, shape, dtype)


def _dataset(batches, batch_size, shape, dtype):
    import tensorflow as tf

    signature = (
        tf.TensorSpec((batch_size, *shape), dtype),
        tf.TensorSpec((batch_size,), tf.int32),
    )
    dataset = tf.data.Dataset.from_generator(batches, output_signature=signature).prefetch(BATCHES_AHEAD)
    options = tf.data.Options()
    # Nothing here is left to tune, and the tuner's thread sleeps for up to a minute before it lets an iterator go: that
    # was seen to add 5 to 40 seconds of idling to a run (TensorFlow 2.19.1).
    options.autotune.enabled = False
    return dataset.with_options(options)

"""The frameworks under Keras. Each module offers the same functions:

start(accelerator, threads)   imports the framework, which must find the one device that devices.environment leaves it;
                              raises DeviceUnavailable
describe(accelerator)         facts that only the framework knows about the device
placement(model)              the kinds of device that hold the model's trainable variables: a subset of {"cpu", "gpu"}
synchronize(model)            returns when the device has finished all work given to it
jit_compile(xla)              what Keras' compile takes for the axis `xla`
prepare_training(model)       makes the training step of a compiled model
make_deterministic()          makes the same run give the same losses to the bit, which costs speed
peak_memory(model)            the most bytes of the device's own memory in use so far; None where it has none or nobody counts
feed_training(…)              what one call of Keras' fit takes to train on batches prepared ahead, from the first; shape and
                              dtype are those of one input
feed_validation(…)            what one call of Keras' evaluate takes
"""

import sys
from typing import Any


def leave_out_tensorflow() -> None:
    """Where TensorFlow is installed, Keras imports it to seed it, whatever the backend: seconds and memory for nothing.

    Keras is told that there is none, once, which it remembers. The name does not stay among the modules: layers of Keras that
    scale or mirror images would take it for an import.
    """
    if "tensorflow" in sys.modules:
        return
    sys.modules["tensorflow"] = None
    try:
        from keras.src.utils import module_utils

        assert not module_utils.tensorflow.available
    finally:
        del sys.modules["tensorflow"]


def load(name: str) -> Any:
    """The module of the backend `name`. The imports are spelled out so that they can be found without running."""
    if name == "tensorflow":
        from trainoff.measure.backends import tensorflow as backend
    elif name == "torch":
        from trainoff.measure.backends import torch as backend
    elif name == "jax":
        from trainoff.measure.backends import jax as backend
    else:
        raise ValueError(f"unknown backend {name!r}")
    return backend

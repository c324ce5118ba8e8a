"""The callback that times a training in the user's own script (docs/own-script.md).

Each epoch is a window, as in trainoff.measure.protocol: synchronize, clock, train, synchronize, clock. Validation is not timed.
"""

import math
import re
import time
from datetime import UTC, datetime
from typing import Any

import keras
import numpy as np

from trainoff.errors import UserError, one_line
from trainoff.machine import devices, gpu_support
from trainoff.measure import backends, memory
from trainoff.numbers import count
from trainoff.own_script import bundling


class Timer(keras.callbacks.Callback):
    """Times each epoch of `fit` and writes a bundle into `folder` when the training ends.

    folder: where the bundle goes; list it under `imports` in an experiment. work: what is trained, in your words: only runs with
    the same words are compared. batch_size: samples per step. samples_per_epoch: needed where the last batch of an epoch is not
    full, or Keras does not know the number of steps. device, label: name and label of the device; None for those of the chip.
    model: name of the network, None for the model's own. warm_up_epochs: first epochs, which are recorded but not counted.
    Raises UserError before the first step if the training cannot be timed.
    """

    def __init__(
        self, folder, *, work, batch_size, samples_per_epoch=None, device=None, label=None, model=None, warm_up_epochs=1
    ):
        super().__init__()
        bundling.check_words(work, batch_size, samples_per_epoch, device, label, model, warm_up_epochs)
        self.folder = folder
        self.work = one_line(work, bundling.LONGEST_WORK)
        self.batch_size = batch_size
        self.samples_per_epoch = samples_per_epoch
        self.named = {"device": device, "label": label, "model": model}
        self.warm_up_epochs = warm_up_epochs
        self._started = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        framework = keras.backend.backend()
        if framework not in gpu_support.NAMES:
            raise UserError(f"Timer: Keras uses {framework}. Expected one of {', '.join(gpu_support.NAMES)}.")
        steps = self.params.get("steps")
        if self.samples_per_epoch is None and not steps:
            raise UserError(
                "Timer: Keras does not know how many steps an epoch has. Give samples_per_epoch, or steps_per_epoch to fit."
            )
        self._samples = self.samples_per_epoch or steps * self.batch_size
        self._backend = backends.load(framework)
        self._accelerator = _accelerator_of(self._backend.placement(self.model), framework)
        self._learning_rate = _number(self.model.optimizer.learning_rate)
        bundling.check_packable(self.folder, self.work, self._run(), self._facts(), self._samples)
        self._windows = []
        self._begun = _now()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._backend.synchronize(self.model)
        self._seconds = None
        self._started_at = _now()
        self._started = time.perf_counter()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        # The validation of an epoch, or an evaluation between epochs, which is not timed anyway.
        self._stop()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._stop()
        # A schedule that warms up begins at 0.
        self._learning_rate = self._learning_rate or _number(self.model.optimizer.learning_rate)
        logs = logs or {}
        accuracy = next((name for name in logs if name.endswith(("accuracy", "acc")) and name[:4] != "val_"), None)
        self._windows.append(
            {
                "epoch": len(self._windows) + 1,
                "images": self._samples,
                "seconds": self._seconds,
                "warm_up": len(self._windows) < self.warm_up_epochs,
                "loss": _finite(logs.get("loss")),
                "accuracy": _finite(logs.get(accuracy)),
                "val_loss": _finite(logs.get("val_loss")),
                "val_accuracy": _finite(logs.get(f"val_{accuracy}")),
                "started_at": self._started_at,
                "energy_joules": None,
                "energy_reason": bundling.NO_ENERGY,
            }
        )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        if not self._windows:
            return
        path = bundling.write(self.folder, self.work, self._run(), self._facts(), self._windows, (self._begun, _now()))
        none_counts = len(self._windows) <= self.warm_up_epochs
        warning = (
            f" None of them counts, since warm_up_epochs is {self.warm_up_epochs}: train more." if none_counts else ""
        )
        print(
            f"trainoff: {path}: {count(len(self._windows), 'epoch')}.{warning} List its folder under imports in an experiment."
        )

    def _stop(self):
        """Stops the epoch's clock if it runs."""
        if self._started is not None:
            self._backend.synchronize(self.model)
            self._seconds = time.perf_counter() - self._started
            self._started = None

    def _run(self):
        """The axes of the run, as far as the model shows them."""
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        shape = getattr(self.model, "input_shape", None)
        square = isinstance(shape, tuple) and len(shape) == 4 and shape[1] == shape[2] and shape[1]
        return {
            "model": bundling.plain_name(self.named["model"] or _name_of(self.model), "_"),
            "batch_size": self.batch_size,
            "img_dim": shape[1] if square else 0,
            "trainable": sum(layer.trainable for layer in _layers_with_weights(self.model)) > 1,
            "precision": self.model.dtype_policy.name,
            "xla": keras.backend.backend() == "jax" or self.model.jit_compile is True,
            "learning_rate": self._learning_rate,
            "optimizer": bundling.plain_name(type(optimizer).__name__, "_"),
        }

    def _facts(self):
        """The device: {"name", "label", "device", "memory"}."""
        framework, accelerator = keras.backend.backend(), self._accelerator
        facts = self._backend.describe(accelerator)
        # CUDA counts the fastest GPU first and nvidia-smi does not, so the name is all that identifies it.
        chip = devices.describe_named(facts.get("name")) if accelerator == "cuda" else devices.describe(accelerator, 0)
        device = chip | {"backend": framework, "accelerator": accelerator} | facts
        return {
            "name": self.named["device"] or f"own-{accelerator}",
            "label": one_line(self.named["label"] or device["name"] or accelerator, bundling.LONGEST_LABEL),
            "device": device,
            "memory": {
                "peak_bytes": memory.peak_of_process(),
                "peak_device_bytes": self._backend.peak_memory(self.model),
            },
        }


def _accelerator_of(placement, framework):
    """The accelerator for a result of a backend's placement; raises UserError where trainoff has none."""
    kinds = {kind.lower() for kind in placement} - {"cpu"}
    if kinds and _built_for_rocm(framework):
        kinds = {"an AMD GPU"}
    others = kinds - {"gpu", "metal"}
    if others:
        raise UserError(
            f"Timer: the model is on {' and '.join(sorted(others))}. Expected the CPU, an NVIDIA GPU or an Apple GPU: trainoff "
            "does not support other devices yet. Train on one of these, or without the Timer."
        )
    if not kinds:
        return "cpu"
    return "metal" if devices.is_apple_silicon() else "cuda"


def _built_for_rocm(framework):
    """Whether the framework is built for AMD's ROCm; it then gives AMD's GPUs the names of NVIDIA's."""
    if framework == "torch":
        import torch

        return bool(torch.version.hip)
    if framework == "jax":
        import jax

        return "rocm" in jax.devices()[0].client.platform_version.lower()
    import tensorflow

    return bool(tensorflow.sysconfig.get_build_info().get("is_rocm_build"))


def _layers_with_weights(model):
    leaves = [layer for layer in model._flatten_layers() if not list(layer._flatten_layers(include_self=False))]
    return [layer for layer in leaves if layer.variables]


def _name_of(model):
    """The model's name without the number by which Keras tells several unnamed models of one process apart."""
    name = re.sub(r"_\d+\Z", "", model.name)
    is_automatic = name.replace("_", "") == type(model).__name__.lower().replace("_", "")
    return name if is_automatic else model.name


def _number(value):
    # As it was written: 0.01, not its float32 value.
    return float(str(np.float32(keras.ops.convert_to_numpy(value))))


def _finite(value):
    return float(value) if value is not None and math.isfinite(value) else None


def _now():
    return datetime.now(UTC).isoformat(timespec="milliseconds")

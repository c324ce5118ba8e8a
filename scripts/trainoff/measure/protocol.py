"""The timed training: one run from the first variable to the last window.

The clock is `time.perf_counter`. Every epoch is a window: synchronize, clock, train, synchronize, clock. Validation and
whatever else stands outside. Read it from `train` downwards.
"""

import functools
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import keras
import numpy as np

from trainoff import convergence
from trainoff.machine.devices import DeviceUnavailable
from trainoff.measure import memory, meters, models
from trainoff.measure.batches import training_batches, validation_batches
from trainoff.shapes import Files, Run

# Of a run that is measured for minutes: as many as a record may hold.
MOST_EPOCHS = 100_000


class Diverged(Exception):
    """The training loss is no longer a number."""


def train(run: Run, files: Files, backend: Any, report: Callable[[dict[str, Any]], None]) -> None:
    """Trains as `run` says and reports what happens as it happens.

    run: what Snakemake passes as params.run (see `run_of` in rules/finished.smk).
    files: paths: train_images, train_labels, validation_images, validation_labels, weights.
    backend: a module of trainoff.measure.backends whose device has been started.
    report: called with one dict per event, each with a key "event"; see trainoff.measure.child.
    Raises DeviceUnavailable when the variables do not lie on the device, Diverged when the loss is not finite.
    """
    started = time.perf_counter()
    data = {name: np.load(path, mmap_mode="r") for name, path in files.items() if name != "weights"}
    shape, dtype = kind_of_inputs(data["train_images"])
    model = prepare(run, files["weights"], backend, shape, dtype)
    seconds = time.perf_counter() - started
    validation_images = len(data["validation_labels"])
    report(
        {
            "event": "built",
            "seconds": seconds,
            "model": models.describe(model, run["architecture"]),
            "validation_images": validation_images,
        }
    )
    meter = meters.open_meter(run["device"]["accelerator"])
    report({"event": "meter", **meters.facts(meter)})

    def batches():
        return training_batches(
            data["train_images"],
            data["train_labels"],
            run["batch_size"],
            run["seed"],
            flip=run.get("augment") == "flip",
        )

    def feed():
        return backend.feed_training(batches, run["batch_size"], shape, dtype)

    started = time.perf_counter()
    first = model.fit(feed(), steps_per_epoch=1, shuffle=False, verbose=0)
    backend.synchronize(model)
    seconds = time.perf_counter() - started
    report({"event": "first_step", "seconds": seconds, "loss": _finite(first.history["loss"][0])})
    report({"event": "memory", **memory_used(model, backend)})

    model.fit(
        feed(),
        epochs=MOST_EPOCHS if run.get("measure_minutes") else run["epochs"],
        steps_per_epoch=run["images_per_epoch"] // run["batch_size"],
        callbacks=[Windows(run, data, backend, meter, report)],
        shuffle=False,  # the batches come shuffled
        verbose=0,
    )


def kind_of_inputs(samples: np.ndarray) -> tuple[tuple[int, ...], str]:
    """(shape of one of `samples`, name of their type): of images (img_dim, img_dim, 3) and uint8."""
    return tuple(samples.shape[1:]), samples.dtype.name


def memory_used(model: keras.Model, backend: Any) -> dict[str, int | None]:
    """{"peak_bytes", "peak_device_bytes"} of this process so far; None for what the system or the framework does not count."""
    return {"peak_bytes": memory.peak_of_process(), "peak_device_bytes": backend.peak_memory(model)}


def prepare(run: Run, weights: str | None, backend: Any, shape: tuple[int, ...], dtype: str) -> keras.Model:
    """The model on its device, ready for its first step.

    weights: path, None for Keras' own. shape, dtype: of one input, as kind_of_inputs gives them. For the rest see `train`.
    """
    keras.utils.set_random_seed(run["seed"])
    if run.get("deterministic"):
        backend.make_deterministic()
    keras.config.set_dtype_policy(run["precision"])
    model, _ = models.build(run, shape, dtype, weights)
    model.compile(
        optimizer=_optimizer(run),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=backend.jit_compile(run["xla"]),
    )
    backend.prepare_training(model)
    _check_placement(model, backend, run["device"]["accelerator"])
    backend.synchronize(model)
    return model


class Windows(keras.callbacks.Callback):
    """Makes every epoch a timed window and validates after it, off the clock."""

    def __init__(self, run, data, backend, meter, report):
        super().__init__()
        self.run = run
        self.data = data
        self.backend = backend
        self.meter = meter
        self.report = report

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.backend.synchronize(self.model)
        self.started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
        # Counters are read around the clock, so that reading them is not timed.
        self.meter.start()
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.backend.synchronize(self.model)
        seconds = time.perf_counter() - self.started
        joules, energy_reason = self.meter.stop(seconds)
        validation_started = time.perf_counter()
        validation = self._validate()
        validation_seconds = time.perf_counter() - validation_started
        self.report(
            {
                "event": "window",
                "window": {
                    "epoch": epoch + 1,
                    "images": self.run["images_per_epoch"],
                    "seconds": seconds,
                    "warm_up": epoch < self.run["warm_up_epochs"],
                    "loss": _finite(logs["loss"]),
                    "accuracy": _finite(logs["accuracy"]),
                    "val_loss": _finite(validation["loss"]),
                    "val_accuracy": _finite(validation["accuracy"]),
                    **_balanced(validation),
                    "validation_seconds": validation_seconds,
                    "started_at": self.started_at,
                    "energy_joules": joules,
                    "energy_reason": energy_reason,
                },
            }
        )
        self.report({"event": "memory", **memory_used(self.model, self.backend)})
        if not math.isfinite(logs["loss"]):
            raise Diverged(f"The training loss of epoch {epoch + 1} is {logs['loss']}.")
        minutes = self.run.get("measure_minutes")
        if minutes and epoch + 1 >= self.run["epochs"] and time.perf_counter() - self.began >= 60 * minutes:
            self.model.stop_training = True

    def _validate(self):
        def batches():
            return validation_batches(
                self.data["validation_images"], self.data["validation_labels"], self.run["batch_size"]
            )

        feed = self.backend.feed_validation(batches, *kind_of_inputs(self.data["validation_images"]))
        labels = self.data["validation_labels"]
        return validate(self.model, feed, labels, self.run["classes"], self.run["batch_size"])


def validate(model: keras.Model, feed: Any, labels: np.ndarray, classes: int, batch_size: int) -> dict[str, float]:
    """{"loss", "accuracy"} of a compiled model over one pass, with "balanced_accuracy" where the classes of `labels` are uneven.

    feed: what Keras takes, over all validation samples in their order; labels: theirs, int (n,), of `classes`.
    """
    steps = math.ceil(len(labels) / batch_size)
    if not convergence.uneven(np.bincount(labels, minlength=classes)):
        return model.evaluate(feed, steps=steps, verbose=0, return_dict=True)
    logits = model.predict(feed, steps=steps, verbose=0).astype(np.float32)
    labels = np.asarray(labels)
    right = logits.argmax(axis=1) == labels
    losses = keras.ops.convert_to_numpy(keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True))
    # Penalties of layers count, as they do in `evaluate`.
    penalty = sum(float(keras.ops.convert_to_numpy(loss)) for loss in model.losses)
    return {
        "loss": float(losses.mean()) + penalty,
        "accuracy": float(right.mean()),
        "balanced_accuracy": float(np.mean([right[labels == label].mean() for label in np.unique(labels)])),
    }


def _balanced(validation):
    """What a window holds besides where classes are uneven."""
    found = validation.get("balanced_accuracy")
    return {} if found is None else {"val_balanced_accuracy": _finite(found)}


def _optimizer(run):
    """Keras' own, by the run's settings; other than these it has Keras' defaults."""
    kinds = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "sgd": functools.partial(keras.optimizers.SGD, momentum=0.9),
    }
    # What is not asked for is left to Keras: AdamW has a weight decay of its own.
    settings = {
        "weight_decay": run.get("weight_decay"),
        "gradient_accumulation_steps": run.get("gradient_accumulation"),
    }
    asked = {key: value for key, value in settings.items() if value is not None}
    return kinds[run.get("optimizer", "adam")](_learning_rate(run), **asked)


def _learning_rate(run):
    """The learning rate, or Keras' schedule of it over the steps."""
    rate, decay = run["learning_rate"], run["learning_rate_decay"]
    if decay is not None:
        rate = keras.optimizers.schedules.ExponentialDecay(rate, decay_steps=decay["steps"], decay_rate=decay["rate"])
    elif run.get("cosine_decay"):
        steps = run["epochs"] * run["images_per_epoch"] // run["batch_size"]
        rate = keras.optimizers.schedules.CosineDecay(rate, decay_steps=steps)
    return WarmUp(rate, run["warm_up_steps"]) if run.get("warm_up_steps") else rate


class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, or a constant rate, that rises evenly from near 0 over its first `steps` steps."""

    def __init__(self, rate, steps):
        super().__init__()
        self.rate = rate
        self.steps = steps

    def __call__(self, step):
        """The learning rate of a step, counted from 0."""
        rate = self.rate(step) if callable(self.rate) else self.rate
        return rate * keras.ops.minimum(1.0, (keras.ops.cast(step, "float32") + 1.0) / self.steps)


def _check_placement(model, backend, accelerator):
    expected = {"cpu"} if accelerator == "cpu" else {"gpu"}
    found = backend.placement(model)
    if found != expected:
        raise DeviceUnavailable(
            f"The model's variables lie on {', '.join(sorted(found))}, not on the {accelerator} device that was asked for: "
            "the framework fell back. Check the driver and the environment that the device's `env` names."
        )


def _finite(value):
    return float(value) if math.isfinite(value) else None

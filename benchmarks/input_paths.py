"""Windows of a configuration, taken in turns in the same process: ours, and other ways to feed the same training.

ours         trainoff.measure.protocol as a run calls it: its feed, its step, its windows
bare_fit     a bare Keras `fit` over one batch that stays in memory, repeated, under the training function that Keras makes
descendants  our step, fed as in the published study's descendants (tcapelle/apple_m1_pro_python, kad99kev/TFonMac):
             tf.data that resizes and scales to float32, caches in memory, shuffles, batches and prefetches

All train the same variables by the same computation, so they differ only in how it is fed and called.
"""

import contextlib
import threading
import time

import keras
import numpy as np
import tensorflow as tf

from trainoff.measure import protocol
from trainoff.measure.batches import training_batches
from trainoff.prepare import datasets

OTHERS = ("bare_fit", "descendants")


class TimeIsUp(Exception):
    """Enough windows are measured."""


def measure(run, files, backend, seconds, pairs):
    """Trains windows of every lane in turns, after one for warm-up; returns {lane: [images per second]}.

    run, files, backend: as protocol.train takes them. seconds: how long to measure; pairs: the minimum number of windows of each
    lane.
    """
    turns = Turns(run, files, backend, seconds, pairs)
    with contextlib.suppress(TimeIsUp):
        protocol.train(run | {"epochs": 10**6, "warm_up_epochs": 1}, files, StandIn(backend, turns), turns.report)
    return {lane: rates[1:] for lane, rates in turns.rates.items()}


def measure_files(run, files, other, backend, seconds, pairs):
    """As measure, for two sets of files with the same step: {"ours": of `files`, "other": of the set `other`}."""
    turns = TurnsOfFiles(run, files, backend, seconds, pairs, other)
    with contextlib.suppress(TimeIsUp):
        protocol.train(run | {"epochs": 10**6, "warm_up_epochs": 1}, files, StandIn(backend, turns), turns.report)
    return {lane: rates[1:] for lane, rates in turns.rates.items()}


class StandIn:
    """Behaves like a backend, and hands the model that it prepares to `turns`."""

    def __init__(self, backend, turns):
        self.backend = backend
        self.turns = turns

    def __getattr__(self, name):
        return getattr(self.backend, name)

    def prepare_training(self, model, *settings):
        self.backend.prepare_training(model, *settings)
        self.turns.model = model


class Turns:
    """After each of our windows, outside its timing, lets every other lane train one; the order alternates."""

    others = OTHERS

    def __init__(self, run, files, backend, seconds, pairs):
        self.run = run
        self.files = files
        self.backend = backend
        self.pairs = pairs
        self.end = time.perf_counter() + seconds
        self.model = None
        self.lanes = {}
        self.rates = {lane: [] for lane in ("ours", *self.others)}

    def report(self, event):
        """Takes what protocol.train reports."""
        if event["event"] != "window":
            return
        self.lanes = self.lanes or self._lanes()
        self.rates["ours"].append(event["window"]["images"] / event["window"]["seconds"])
        for name in self.others[:: 1 if event["window"]["epoch"] % 2 else -1]:
            self.rates[name].append(self.run["images_per_epoch"] / self.lanes[name].train_window())
        if len(self.rates["ours"]) > self.pairs and time.perf_counter() > self.end:
            raise TimeIsUp

    def _lanes(self):
        run, train = self.run, [np.load(self.files[f"train_{what}"], mmap_mode="r") for what in ("images", "labels")]
        batch = next(training_batches(*train, run["batch_size"], run["seed"]))
        our_function = self.model.train_function
        self.model.make_train_function(force=True)
        keras_function, self.model.train_function = self.model.train_function, our_function
        floats = model_of_floats(self.model, run)
        self.backend.prepare_training(floats)
        lanes = {
            "bare_fit": (self.model, keras_function, tf.data.Dataset.from_tensors(batch).repeat()),
            "descendants": (floats, floats.train_function, feed_of_descendants(run)),
        }
        steps = run["images_per_epoch"] // run["batch_size"]
        return {name: Lane(*lane, steps, self.backend.synchronize) for name, lane in lanes.items()}


class TurnsOfFiles(Turns):
    """Two sets of files, each fed as in a run, to the same model and step."""

    others = ("other",)

    def __init__(self, run, files, backend, seconds, pairs, other):
        super().__init__(run, files, backend, seconds, pairs)
        self.other = other

    def _lanes(self):
        run, train = self.run, [np.load(self.other[f"train_{what}"], mmap_mode="r") for what in ("images", "labels")]

        def batches():
            return training_batches(*train, run["batch_size"], run["seed"])

        feed = self.backend.feed_training(batches, run["batch_size"], *protocol.kind_of_inputs(train[0]))
        steps = run["images_per_epoch"] // run["batch_size"]
        return {"other": Lane(self.model, self.model.train_function, feed, steps, self.backend.synchronize)}


class Lane(keras.callbacks.Callback):
    """An endless `fit` in a thread of its own: it trains a window when asked, and pauses until the next."""

    def __init__(self, model, function, feed, steps, synchronize):
        super().__init__()
        self.function = function
        self.synchronize = synchronize
        self.go = threading.Semaphore(0)
        self.stopped = threading.Semaphore(0)
        self.error = None
        threading.Thread(target=self._fit, args=(model, feed, steps), daemon=True).start()

    def train_window(self):
        """Trains one window; returns its seconds."""
        self.go.release()
        self.stopped.acquire()
        if self.error:
            raise self.error
        return self.seconds

    def on_epoch_begin(self, epoch, logs=None):
        self.go.acquire()
        self.function_before, self.model.train_function = self.model.train_function, self.function
        self.synchronize(self.model)
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.synchronize(self.model)
        self.seconds = time.perf_counter() - self.started
        self.model.train_function = self.function_before
        self.stopped.release()

    def _fit(self, model, feed, steps):
        try:
            model.fit(feed, epochs=10**9, steps_per_epoch=steps, callbacks=[self], shuffle=False, verbose=0)
        except Exception as error:
            self.error = error
            self.stopped.release()


def model_of_floats(model, run):
    """A model with the same layers and variables as `model`, for scaled pixels in float32."""
    base = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    pixels = keras.Input(base.input_shape[1:])
    outputs = base(pixels, training=None if run["trainable"] else False)
    for layer in model.layers[model.layers.index(base) + 1 :]:
        outputs = layer(outputs)
    floats = keras.Model(pixels, outputs)
    floats.compile(
        optimizer=keras.optimizers.Adam(run["learning_rate"]),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=run["xla"],
    )
    return floats


def feed_of_descendants(run):
    """The tf.data of the study's descendants, but cached in memory and not in a file, and scaled as the network expects."""
    scale = getattr(keras.applications, run["architecture"]["module"]).preprocess_input

    def prepare(image, label):
        size = run["img_dim"], run["img_dim"]
        return scale(tf.image.resize(tf.cast(image, tf.float32), size, method="nearest")), label

    splits, _ = datasets.load_digits()
    images, labels = splits["train"]
    return (
        tf.data.Dataset.from_tensor_slices((images, labels))
        .map(prepare, num_parallel_calls=4)
        .cache()
        .shuffle(1024)
        .repeat()
        .batch(run["batch_size"], drop_remainder=True)
        .prefetch(tf.data.AUTOTUNE)
    )

"""The process of one of two trainings that take turns: an ordinary training whose epochs are slices that it is told to train.

Run by trainoff.supervise.launch as `python -m trainoff.measure.turning SPEC`, like trainoff.measure.child. `run` has one key
more, `turns`: {slice_seconds, orders, answers}, the last two being named pipes. A line in `orders` is a slice to train ("go"),
one that is not counted ("lead_in"), or the end ("stop"); a line in `answers` follows when that is done. In between the process
waits in a read and computes nothing. Each slice is measured as an epoch of a run is: synchronize, clock, train, synchronize,
clock.
"""

import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from trainoff.measure import child
from trainoff.shapes import Files, Run

# A slice is at least so many steps.
MIN_STEPS = 3
# Steps after the first that warm up; then steps that calibrate the length of a slice, which double until they take as long.
WARM_UP_STEPS, CALIBRATION_STEPS, MOST_CALIBRATION_STEPS = 2, 3, 3072
# Slices are epochs of a single fit, as in a run; nobody trains so many.
ENDLESS = 1_000_000


class Stopped(Exception):
    """The supervisor has seen enough."""


def train(run: Run, files: Files, backend: Any, report: Callable[[dict[str, Any]], None]) -> None:
    """Trains as trainoff.measure.protocol.train does up to its first step, then slice by slice as it is told.

    Reports `ready` with the seconds of a step and the steps of a slice, then one `slice` each; see `Slices`.
    """
    import keras
    import numpy as np

    from trainoff.measure import protocol
    from trainoff.measure.batches import training_batches

    turns = run["turns"]
    started = time.perf_counter()
    data = {name: np.load(files[name], mmap_mode="r") for name in ("train_images", "train_labels")}
    shape, dtype = protocol.kind_of_inputs(data["train_images"])
    model = protocol.prepare(run, files["weights"], backend, shape, dtype)
    report({"event": "built", "seconds": time.perf_counter() - started})

    def batches():
        return training_batches(
            data["train_images"],
            data["train_labels"],
            run["batch_size"],
            run["seed"],
            flip=run.get("augment") == "flip",
        )

    def fit(steps, epochs=1, callbacks=()):
        return model.fit(
            backend.feed_training(batches, run["batch_size"], shape, dtype),
            epochs=epochs,
            steps_per_epoch=steps,
            callbacks=list(callbacks),
            shuffle=False,
            verbose=0,
        )

    started = time.perf_counter()
    first = fit(1)
    backend.synchronize(model)
    loss = first.history["loss"][0]
    report(
        {"event": "first_step", "seconds": time.perf_counter() - started, "loss": loss if math.isfinite(loss) else None}
    )
    fit(WARM_UP_STEPS)

    def timed(steps):
        backend.synchronize(model)
        started = time.perf_counter()
        fit(steps)
        backend.synchronize(model)
        return time.perf_counter() - started

    step_seconds = seconds_of_step(timed, turns["slice_seconds"])
    steps = max(MIN_STEPS, round(turns["slice_seconds"] / step_seconds))
    report({"event": "ready", "steps": steps, "step_seconds": step_seconds})

    class Slices(keras.callbacks.Callback):
        """Makes every epoch a slice: waits for an order before it, measures it, and answers."""

        def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            backend.synchronize(self.model)
            waited, cpu = time.perf_counter(), time.process_time()
            self.order = channel.next_order()
            self.waited = {
                "waited_seconds": time.perf_counter() - waited,
                # Of all threads: one that spins while it waits takes from the other training.
                "waited_cpu_seconds": time.process_time() - cpu,
            }
            if self.order == "stop":
                raise Stopped
            self.started = time.perf_counter()

        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            backend.synchronize(self.model)
            seconds = time.perf_counter() - self.started
            report(
                {
                    "event": "slice",
                    "slice": {
                        "images": steps * run["batch_size"],
                        "seconds": seconds,
                        "lead_in": self.order == "lead_in",
                        **self.waited,
                    },
                }
            )
            if not math.isfinite(logs["loss"]):
                raise protocol.Diverged(f"The training loss of slice {epoch + 1} is {logs['loss']}.")
            channel.answer({"seconds": seconds})

    channel = Channel(turns["orders"], turns["answers"])
    channel.answer({"pid": os.getpid(), "steps": steps})
    with contextlib.suppress(Stopped):
        fit(steps, ENDLESS, [Slices()])


def seconds_of_step(timed: Callable[[int], float], enough_seconds: float) -> float:
    """Seconds of a training step. timed: trains so many steps and returns the seconds that took, what a start costs included."""
    steps, seconds = CALIBRATION_STEPS, timed(CALIBRATION_STEPS)
    while True:
        more, longer = 2 * steps, timed(2 * steps)
        if longer >= enough_seconds or more >= MOST_CALIBRATION_STEPS:
            # Of the difference, in which what a start costs cancels out; noise can make that useless.
            difference = (longer - seconds) / (more - steps)
            return difference if difference > longer / more / 4 else longer / more
        steps, seconds = more, longer


class Channel:
    """Two named pipes: orders come in, answers go out, a line each."""

    def __init__(self, orders, answers):
        self._orders = open(orders, encoding="ascii")  # noqa: SIM115 - open until the process ends
        self._answers = os.open(answers, os.O_WRONLY)

    def next_order(self) -> str:
        """Waits for a line; the end of the pipe is the end of the turns."""
        return self._orders.readline().strip() or "stop"

    def answer(self, value: dict[str, Any]) -> None:
        os.write(self._answers, f"{json.dumps(value)}\n".encode("ascii"))


def _load():
    from trainoff.measure import protocol  # noqa: F401 (imports Keras, which belongs to the import of the framework)

    return train


if __name__ == "__main__":
    child.main(sys.argv[1], _load)

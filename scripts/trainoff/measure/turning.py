"""The process of one of two trainings that take turns: an ordinary training whose epochs are slices that it is told to train.

Run by trainoff.supervise.launch as `python -m trainoff.measure.turning SPEC`, like trainoff.measure.child. `run` has one key
more, `turns`: {slice_seconds, orders, answers}, the last two being named pipes. The first line in `orders` says how many steps a
slice has ("steps 5") or asks for it ("calibrate"). Every other is a slice to train ("go"), one that is not counted ("lead_in"),
or the end ("stop"). A line in `answers` follows when that is done; in between the process waits in a read and computes nothing.
Each slice is measured as an epoch of a run is: synchronize, clock, train, synchronize, clock.
"""

import contextlib
import itertools
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from trainoff.measure import child
from trainoff.shapes import Files, Run

# To find how long a step takes, so many at a time are timed for so long, unless a single one is a slice already.
CALIBRATION_STEPS, CALIBRATION_SECONDS = 3, 1.0
# Slices are epochs of a single fit, as in a run; nobody trains so many.
ENDLESS = 1_000_000


class Stopped(Exception):
    """The supervisor has seen enough."""


def train(run: Run, files: Files, backend: Any, report: Callable[[dict[str, Any]], None]) -> None:
    """Trains as trainoff.measure.protocol.train does up to its first step, then slice by slice as it is told.

    Reports `ready` with the steps of a slice, then one `slice` each; see `Slices`.
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
    channel = Channel(turns["orders"], turns["answers"])
    channel.answer({"pid": os.getpid()})
    order, _, steps = channel.next_order().partition(" ")
    if order == "stop":
        return
    if order == "calibrate":
        steps = _steps_of_slice(turns["slice_seconds"], fit, backend, model)
    steps = int(steps)
    report({"event": "ready", "steps": steps})

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

    channel.answer({"steps": steps})
    with contextlib.suppress(Stopped):
        fit(steps, ENDLESS, [Slices()])


def _steps_of_slice(slice_seconds, fit, backend, model):
    """Whole steps that last about so many seconds, at least one."""
    # With one step at a time the start of an epoch is counted too, so this is rather too long than too short.
    if _seconds_of_step(fit, backend, model, 1, 0) >= slice_seconds:
        return 1
    return max(1, round(slice_seconds / _seconds_of_step(fit, backend, model, CALIBRATION_STEPS, CALIBRATION_SECONDS)))


def _seconds_of_step(fit, backend, model, steps, seconds):
    """Seconds of a training step, the median over epochs of so many steps that are timed for so many seconds, two at least."""
    import keras

    ends = []

    class Clock(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            backend.synchronize(model)
            ends.append(time.perf_counter())
            # The first carries what the start of a fit costs.
            self.model.stop_training = len(ends) > 1 and ends[-1] - ends[0] >= seconds

    fit(steps, ENDLESS, [Clock()])
    return statistics.median(later - earlier for earlier, later in itertools.pairwise(ends)) / steps


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

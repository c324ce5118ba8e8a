"""The process that probes a device: what it computes from given weights and images, before anything is trained for long.

Run by trainoff.supervise.launch as `python -m trainoff.measure.probing SPEC`, like trainoff.measure.child. Its events
besides those of every child:

outputs     logits: of fixed validation images in inference, one list per image; null for what is not finite
losses      losses: of training steps on one batch again and again, each before its update; null for what is not finite
"""

import itertools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from trainoff.measure import child
from trainoff.measure.batches import training_batches
from trainoff.shapes import Files, Run

# In float16 Keras multiplies the loss by 32768 at first and skips steps, halving it each time, until no gradient
# overflows. A probe has too few steps for that: nothing would be learned in them on any device.
LOSS_SCALE = 128.0


def probe(run: Run, files: Files, backend: Any, report: Callable[[dict[str, Any]], None]) -> None:
    """Computes outputs and first losses of one model on one device and reports them.

    run: see `probe_of` in rules/parity.smk. files: paths: train_images, train_labels, validation_images, weights.
    backend: a module of trainoff.measure.backends whose device has been started. report: called with one dict per event.
    """
    from trainoff.measure import protocol

    images = np.array(np.load(files["validation_images"], mmap_mode="r")[: run["batch_size"]])
    shape, dtype = protocol.kind_of_inputs(images)
    model = protocol.prepare(run, files["weights"], backend, shape, dtype)
    # `predict` computes in graph mode, as training does: a device can be right in eager mode and wrong there.
    logits = model.predict(images, batch_size=run["batch_size"], verbose=0)
    report({"event": "outputs", "logits": [[_finite(value) for value in row] for row in logits]})

    if hasattr(model.optimizer, "dynamic_scale"):
        model.optimizer.dynamic_scale.assign(LOSS_SCALE)

    def batches():
        data = [np.load(files[name], mmap_mode="r") for name in ("train_images", "train_labels")]
        # One batch again and again: its loss falls at every step, so that a wrong gradient or update shows at once.
        return itertools.repeat(next(training_batches(*data, run["batch_size"], run["seed"])))

    feed = backend.feed_training(batches, run["batch_size"], shape, dtype)
    # One step per epoch, so that the loss of every step is known.
    history = model.fit(feed, epochs=run["steps"], steps_per_epoch=1, shuffle=False, verbose=0).history
    report({"event": "losses", "losses": [_finite(value) for value in history["loss"]]})


def _finite(value):
    return float(value) if math.isfinite(value) else None


def _load():
    from trainoff.measure import protocol  # noqa: F401 (imports Keras, which belongs to the import of the framework)

    return probe


if __name__ == "__main__":
    child.main(sys.argv[1], _load)

"""The process that tries whether a device trains a model at one size.

Run by trainoff.supervise.launch, like trainoff.measure.child. Its events besides those of every child:

trained     seconds, peak_memory_bytes: of this process, without a GPU's own memory
"""

import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from trainoff.measure import child, memory
from trainoff.shapes import Files, Run


def try_to_train(run: Run, files: Files, backend: Any, report: Callable[[dict[str, Any]], None]) -> None:
    """Trains a few steps on random inputs. run: see plan.limit_trials, with a value on both axes; files: none."""
    from trainoff.measure import protocol

    started = time.perf_counter()
    shape = tuple(run.get("input_shape") or (run["img_dim"], run["img_dim"], 3))
    dtype = run.get("input_dtype", "uint8")
    model = protocol.prepare(run, None, backend, shape, dtype)
    generator = np.random.default_rng(run["seed"])
    # Of samples that are no images nobody knows the range: 0 and 1 are in any.
    values = 256 if dtype == "uint8" else 2
    images = generator.integers(0, values, (run["batch_size"], *shape), dtype=np.uint8).astype(dtype)
    labels = generator.integers(0, run["classes"], run["batch_size"], dtype=np.int32)

    def batches():
        return itertools.repeat((images, labels))

    feed = backend.feed_training(batches, run["batch_size"], shape, dtype)
    model.fit(feed, steps_per_epoch=run["steps"], shuffle=False, verbose=0)
    backend.synchronize(model)
    seconds = time.perf_counter() - started
    report({"event": "trained", "seconds": seconds, "peak_memory_bytes": memory.peak_of_process()})


def _load():
    from trainoff.measure import protocol  # noqa: F401 (imports Keras, which belongs to the import of the framework)

    return try_to_train


if __name__ == "__main__":
    child.main(sys.argv[1], _load)

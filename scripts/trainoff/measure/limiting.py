"""The process that tries whether a device trains a model at one size.

Run by trainoff.supervise.launch, like trainoff.measure.child. Its events besides those of every child:

trained     seconds, peak_memory_bytes: of this process, without a GPU's own memory
"""

import itertools
import resource
import sys
import time

import numpy as np

from trainoff.measure import child


def try_to_train(run, files, backend, report):
    """Trains a few steps on random pixels. run: see experiment.limit_trials, with a value on both axes; files: none."""
    from trainoff.measure import protocol

    started = time.perf_counter()
    model = protocol.prepare(run, None, backend)
    generator = np.random.default_rng(run["seed"])
    shape = run["batch_size"], run["img_dim"], run["img_dim"], 3
    images = generator.integers(0, 256, shape, dtype=np.uint8)
    labels = generator.integers(0, run["classes"], run["batch_size"], dtype=np.int32)

    def batches():
        return itertools.repeat((images, labels))

    feed = backend.feed_training(batches, run["batch_size"], run["img_dim"])
    model.fit(feed, steps_per_epoch=run["steps"], shuffle=False, verbose=0)
    backend.synchronize(model)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    report({"event": "trained", "seconds": time.perf_counter() - started, "peak_memory_bytes": peak})


def _load():
    from trainoff.measure import protocol  # noqa: F401 (imports Keras, which belongs to the import of the framework)

    return try_to_train


if __name__ == "__main__":
    child.main(sys.argv[1], _load)

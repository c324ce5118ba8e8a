"""Batches of images, the same in the same order on every device."""

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np


def training_batches(
    images: np.ndarray, labels: np.ndarray, batch_size: int, seed: int, flip: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Endless batches: pass after pass over all images, each pass in a new order drawn from `seed`.

    images: uint8 (n, height, width, 3), may be memory-mapped; labels: (n,).
    Yields (batch_size, height, width, 3) and (batch_size,). A batch may span two passes, so that every batch is full and
    the order of images does not depend on the batch size. flip: mirrors each image left to right or not, drawn from `seed`.
    """
    mirrors = np.random.default_rng([seed, 1])
    generator = np.random.default_rng(seed)
    order = np.empty(0, dtype=np.int64)
    while True:
        while len(order) < batch_size:
            order = np.concatenate([order, generator.permutation(len(images))])
        chosen, order = order[:batch_size], order[batch_size:]
        batch = images[chosen]
        if flip:
            mirrored = mirrors.random(batch_size) < 0.5
            batch[mirrored] = batch[mirrored, :, ::-1]
        yield batch, labels[chosen]


def validation_batches(
    images: np.ndarray, labels: np.ndarray, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """One pass over all images in their order; the last batch may be smaller."""
    for start in range(0, len(images), batch_size):
        yield images[start : start + batch_size], labels[start : start + batch_size]


def ahead(batches: Iterable[Any], number: int) -> Iterator[Any]:
    """The batches of the iterable `batches`, up to `number` of them read ahead of time in a thread of their own.

    Hides the reading of a batch behind the computing on another. An error while reading is raised here. The thread ends
    with the batches, or when the generator is closed or forgotten.
    """
    ready, closed, end = queue.Queue(number), threading.Event(), object()

    def read():
        try:
            for batch in batches:
                _put(ready, batch, closed)
                if closed.is_set():
                    return
            _put(ready, end, closed)
        except Exception as error:
            _put(ready, error, closed)

    threading.Thread(target=read, daemon=True).start()
    try:
        while (item := ready.get()) is not end:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        closed.set()


def _put(ready, item, closed):
    """Waits for room, unless nobody will make any."""
    while not closed.is_set():
        try:
            return ready.put(item, timeout=1)
        except queue.Full:
            continue

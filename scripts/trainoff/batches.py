"""Batches of images, the same in the same order on every device."""

import numpy as np


def training_batches(images, labels, batch_size, seed):
    """Endless batches: pass after pass over all images, each pass in a new order drawn from `seed`.

    images: uint8 (n, height, width, 3), may be memory-mapped; labels: (n,).
    Yields (batch_size, height, width, 3) and (batch_size,). A batch may span two passes, so that every batch is full and
    the order of images does not depend on the batch size.
    """
    generator = np.random.default_rng(seed)
    order = np.empty(0, dtype=np.int64)
    while True:
        while len(order) < batch_size:
            order = np.concatenate([order, generator.permutation(len(images))])
        chosen, order = order[:batch_size], order[batch_size:]
        yield images[chosen], labels[chosen]


def validation_batches(images, labels, batch_size):
    """One pass over all images in their order; the last batch may be smaller."""
    for start in range(0, len(images), batch_size):
        yield images[start : start + batch_size], labels[start : start + batch_size]

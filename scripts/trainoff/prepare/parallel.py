"""Work on many items with all cores, results in the order of the items."""

import collections
import itertools
from concurrent.futures import ThreadPoolExecutor

AHEAD_PER_WORKER = 4


def in_order(function, items, workers):
    """Yields function(item) for every item, in order, computed by `workers` threads; an error is raised where it belongs.

    For work that leaves Python's lock: decoding, resizing, hashing, reading. Only a few results wait at a time, so that memory
    does not grow with the number of items.
    """
    with ThreadPoolExecutor(workers) as pool:
        items = iter(items)
        waiting = collections.deque(
            pool.submit(function, item) for item in itertools.islice(items, workers * AHEAD_PER_WORKER)
        )
        try:
            while waiting:
                result = waiting.popleft().result()
                for item in itertools.islice(items, 1):
                    waiting.append(pool.submit(function, item))
                yield result
        finally:
            for future in waiting:
                future.cancel()

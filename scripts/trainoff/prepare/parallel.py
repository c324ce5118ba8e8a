"""Work on many items with all cores, results in the order of the items."""

import collections
import itertools
from concurrent.futures import ThreadPoolExecutor

AHEAD_PER_WORKER = 4
# Starting processes takes about a second; threads have done fewer items before that.
WORTH_PROCESSES = 500


def in_order(function, items, workers):
    """Yields function(item) for every item, in order, computed by `workers` threads; an error is raised where it belongs.

    For work that leaves Python's lock for long: hashing and reading large files, resizing many images at a time. Only a few
    results wait at a time, so that memory does not grow with the number of items.
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


def in_processes(function, items, workers):
    """The same by processes, for many small items, most of whose time is Python's own: threads would wait for its lock.

    function, items and results are handed over by pickling; items: a sequence.
    """
    if workers == 1 or len(items) < WORTH_PROCESSES:
        return in_order(function, items, workers)
    from joblib import Parallel, delayed

    return Parallel(workers, return_as="generator")(delayed(function)(item) for item in items)

"""Work on many items with all cores, results in the order of the items."""

import collections
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

AHEAD_PER_WORKER = 4
# Starting processes takes about a second; threads have done fewer items before that.
WORTH_PROCESSES = 500


def in_order(function: Callable[[Any], Any], items: Sequence[Any], workers: int, at_once: int = 1) -> Iterator[Any]:
    """Yields function(item) for every item of a sequence, in order, computed by threads; an error is raised where it belongs.

    For work that leaves Python's lock for long: hashing and reading large files, resizing many images at a time. at_once: how
    many items a thread does before it hands over results, where an item is little work. Only a few results wait at a time, so
    that memory does not grow with the number of items.
    """

    def do(start):
        return [function(item) for item in items[start : start + at_once]]

    with ThreadPoolExecutor(workers) as pool:
        starts = iter(range(0, len(items), at_once))
        waiting = collections.deque(
            pool.submit(do, start) for start in itertools.islice(starts, workers * AHEAD_PER_WORKER)
        )
        try:
            while waiting:
                results = waiting.popleft().result()
                for start in itertools.islice(starts, 1):
                    waiting.append(pool.submit(do, start))
                yield from results
        finally:
            for future in waiting:
                future.cancel()


def in_processes(function: Callable[[Any], Any], items: Sequence[Any], workers: int) -> Iterator[Any]:
    """The same by processes, for many small items, most of whose time is Python's own: threads would wait for its lock.

    function, items and results are handed over by pickling.
    """
    if workers == 1 or len(items) < WORTH_PROCESSES:
        return in_order(function, items, workers)
    from joblib import Parallel, delayed

    return Parallel(workers, return_as="generator")(delayed(function)(item) for item in items)

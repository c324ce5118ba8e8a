"""Work on many items in parallel, with results in the order of the items."""

import collections
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

AHEAD_PER_WORKER = 4
# Below this number of items, threads finish before processes have started, which takes about a second.
WORTH_PROCESSES = 500


def in_order(function: Callable[[Any], Any], items: Sequence[Any], workers: int, at_once: int = 1) -> Iterator[Any]:
    """Yields function(item) for every item, in order, computed by threads; an error is raised in place of the item's result.

    For work that mostly runs without the GIL: hashing and reading large files, resizing many images at a time. at_once: how
    many items a thread computes before it returns results, where an item is little work. Only a few results wait at a time, so
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
    """The same with processes, for many small items that mostly run Python code: threads would wait for the GIL.

    The function, items and results must be picklable.
    """
    if workers == 1 or len(items) < WORTH_PROCESSES:
        return in_order(function, items, workers)
    from joblib import Parallel, delayed

    return Parallel(workers, return_as="generator")(delayed(function)(item) for item in items)

"""Work over many boxes on a few threads, in order, with a bounded number under way."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from unet_batch.tiling.box import Box

ResultT = TypeVar("ResultT")
_MOST_WORKERS = 8


def each(work: Callable[[Box], ResultT], boxes: Iterable[Box], workers: int) -> Iterator[ResultT]:
    """Results in order, a bounded number of boxes at once; the first error stops the rest.

    No ``workers`` is the plain loop.
    """
    if workers == 0:
        yield from map(work, boxes)
        return
    pending: deque[Future[ResultT]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="ingest") as pool:
        try:
            for box in boxes:
                pending.append(pool.submit(work, box))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def threads(wanted: int | None) -> int:
    """How many threads a setting means: None is one per usable core, at most 8."""
    return min(len(os.sched_getaffinity(0)), _MOST_WORKERS) if wanted is None else wanted

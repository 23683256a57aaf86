"""Blocks in this process: the plain loop, the reference that every other executor must equal; and threads."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from unet_batch.schedule.events import Event, Stop, Work
from unet_batch.schedule.ladder import attempt_all

WORKER = "serial"


def run(work: Work, numbers: Iterable[int], stop: Stop = lambda: False) -> Iterator[Event]:
    """One block after the other; the event of each, in the order of ``numbers``."""
    for number in numbers:
        if stop():
            return
        yield attempt_all(work, number, WORKER)


def run_threads(
    work: Work, numbers: Iterable[int], stop: Stop = lambda: False, *, threads: int
) -> Iterator[Event]:
    """The same on ``threads`` threads, for work that shares what it has read.

    One block more than there are threads is under way at most. The first error that ends the run is raised
    once the blocks under way have ended.
    """
    under_way: deque[Future[Event]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="blocks") as pool:
        try:
            for number in numbers:
                if stop():
                    break
                under_way.append(pool.submit(attempt_all, work, number, WORKER))
                if len(under_way) > threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()

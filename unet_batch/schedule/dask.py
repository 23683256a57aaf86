"""Blocks to Dask workers: packets of consecutive blocks, few in flight, each future released at once.

A block that fails climbs the ladder of tries (``ladder.py``), alone in its packet. A worker that dies fails
its packets' blocks in the same way, so that a block that kills workers is found and set aside, and its
neighbours in the packet are not.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from math import inf
from typing import TypeVar, cast

from distributed import Client, Future, as_completed, get_worker, wait
from distributed.client import FutureCancelledError, FuturesCancelledError
from distributed.scheduler import KilledWorker

from unet_batch import unsynced
from unet_batch.errors import UnfinishedError, WorkerLostError
from unet_batch.schedule.events import FATAL, Event, Stop, Work, attempt, describe
from unet_batch.schedule.ladder import Ladder
from unet_batch.unsynced import Durability

Packet = tuple[int, ...]


def run_packet(work: Work, packet: Packet, durability: Durability) -> list[Event]:
    """On a worker: the blocks of a packet in turn; what they wrote is synced before anyone hears of it."""
    worker = get_worker().address
    with unsynced.collected(durability):
        events = [attempt(work, number, worker) for number in packet]
        if durability == "fsync":
            unsynced.sync()
    return events


def packets_here() -> int:
    """How many packets this worker runs at the same time; 1 outside a worker."""
    try:
        return int(get_worker().state.nthreads)
    except ValueError:
        return 1


ResultT = TypeVar("ResultT")
SCHEDULER_LOST = "scheduler-connection-lost"  # distributed's reason for a future that is cancelled
LANDING_SECONDS = 60.0
ASK_SECONDS = 1.0  # between two questions to the scheduler about its workers


@dataclass(frozen=True, slots=True)
class Packing:
    """How much work one task holds, and how long nobody need be there to do it.

    Attributes:
        seconds: wall time that a packet should take; the scheduler's cost per task is some 0.5 ms.
        largest: most blocks in a packet, so that a lost worker loses little.
        patience: seconds without any worker after which the run ends, unfinished.
        durability: whether a worker syncs what the blocks of a packet wrote.
    """

    seconds: float = 10.0
    largest: int = 256
    patience: float = inf
    durability: Durability = "fsync"


def run(
    client: Client,
    work: Work,
    numbers: Iterable[int],
    stop: Stop = lambda: False,
    packing: Packing = Packing(),
) -> Iterator[Event]:
    """Events of all ``numbers`` in the order in which workers end them. Workers may join and leave.

    Raises:
        UnfinishedError: no worker for longer than ``packing.patience``, or the scheduler is gone. What was
            under way is done again by the next run.
    """
    return _Run(client, work, deque(numbers), packing).events(stop)


def ask(
    client: Client,
    function: Callable[[], ResultT],
    tries: int = 3,
    stop: Stop = lambda: False,
    patience: float = inf,
) -> ResultT:
    """The result of ``function()`` on some worker; its errors are raised here.

    Raises:
        WorkerLostError: ``tries`` workers died of it, or while they were at it.
        UnfinishedError: stopped before there was an answer, or nobody was there to give one.
    """
    presence = _Presence(client, patience)
    for _ in range(tries):
        future = _answered(client.submit(function, pure=False), presence, stop)
        try:
            return cast("ResultT", future.result())
        except KilledWorker as error:
            lost: Exception = error
        except FutureCancelledError as error:
            if error.reason == SCHEDULER_LOST:
                raise _scheduler_lost(error) from None
            lost = error
        finally:
            future.release()
    raise WorkerLostError(
        f"{tries} workers died before the first block ({type(lost).__name__}); if memory ran out, "
        "set smaller tiles"
    )


def _answered(future: Future, presence: "_Presence", stop: Stop) -> Future:
    """The future, once it has ended."""
    completed = as_completed([future], raise_errors=False)
    while not _one_has_ended(completed):
        presence.count()
        if stop():
            raise UnfinishedError("stopped before the first block; run again to begin")
    return future


def workers(client: Client) -> int:
    """How many workers there are, one at least.

    Raises:
        UnfinishedError: the scheduler is gone.
    """
    try:
        return max(1, len(client.nthreads()))
    except (OSError, RuntimeError) as error:
        raise _scheduler_lost(error) from None


class _Presence:
    """How many threads there are to work, and since when there are none."""

    def __init__(self, client: Client, patience: float) -> None:
        self.client, self.patience = client, patience
        self.threads, self.workers, self.asked, self.seen = 0, 0, -inf, time.monotonic()

    def count(self) -> int:
        """Threads of all workers, asked at most once a second; raises where none came for too long."""
        now = time.monotonic()
        if now - self.asked > ASK_SECONDS:
            try:
                found = self.client.nthreads()
            except (OSError, RuntimeError) as error:
                raise _scheduler_lost(error) from None
            self.threads, self.workers, self.asked = sum(found.values()), len(found), now
            self.seen = now if self.threads else self.seen
        if now - self.seen > self.patience:
            raise UnfinishedError(f"no worker for {self.patience:.0f} s; run again once there are some")
        return self.threads


class _Run:
    """One pass over the blocks; all state lives in the driver."""

    def __init__(self, client: Client, work: Work, waiting: deque[int], packing: Packing) -> None:
        self.client, self.work, self.waiting, self.packing = client, work, waiting, packing
        self.flying: dict[Future, Packet] = {}
        self.ladder = Ladder()
        self.retries: deque[int] = deque()
        self.last_resort: deque[int] = deque()
        self.block_seconds: float | None = None
        self.presence = _Presence(client, packing.patience)

    def events(self, stop: Stop) -> Iterator[Event]:
        try:
            yield from self._events(stop)
        except FATAL:
            self._land()
            raise

    def _events(self, stop: Stop) -> Iterator[Event]:
        completed = as_completed(raise_errors=False)
        self._launch(completed, stop)
        while self.flying:
            if not _one_has_ended(completed):
                threads = self.presence.count()
                if stop() and not threads:
                    return  # nobody is left to end what is under way
                continue
            future = next(completed)
            packet = self.flying.pop(future)
            outcome = _outcome(future, packet)
            future.release()
            del future
            for event in outcome:
                yield from self._settle(event)
            self._launch(completed, stop)

    def _land(self) -> None:
        """Let what is under way end: the caller may remove the store, and workers must not write then."""
        with suppress(TimeoutError, OSError, RuntimeError, FutureCancelledError, FuturesCancelledError):
            wait(list(self.flying), timeout=LANDING_SECONDS)

    def _settle(self, event: Event) -> Iterator[Event]:
        """Passes an event on, unless the block gets another try."""
        if event.status == "failed" and self._next_try(event):
            return
        if event.status != "failed":
            mean = self.block_seconds
            self.block_seconds = event.seconds if mean is None else 0.9 * mean + 0.1 * event.seconds
        self.ladder.forget(event.number)
        yield event

    def _next_try(self, event: Event) -> bool:
        rung = self.ladder.next_try(event)
        if rung is not None:
            (self.last_resort if rung == "alone" else self.retries).append(event.number)
        return rung is not None

    def _launch(self, completed: as_completed, stop: Stop) -> None:
        """Fills the flight up to its bound; the last resorts fly when nothing else does."""
        if stop():
            return
        bound = max(2, self.presence.count() + self.presence.workers)  # each worker has one ready
        while len(self.flying) < bound and (packet := self._next_packet()):
            self._submit(completed, packet)
        if not self.flying and self.last_resort:
            self._submit(completed, (self.last_resort.popleft(),))

    def _next_packet(self) -> Packet:
        if self.retries:
            return (self.retries.popleft(),)
        packet = tuple(islice(self.waiting, self._packet_size()))
        for _ in packet:
            self.waiting.popleft()
        return packet

    def _packet_size(self) -> int:
        """Blocks for the time a packet should take, and few enough that all threads end together."""
        if self.block_seconds is None:
            return 1
        by_time = self.packing.seconds / max(self.block_seconds, 1e-6)
        fair_share = len(self.waiting) / (4 * max(1, self.presence.threads))
        return max(1, int(min(by_time, fair_share, self.packing.largest)))

    def _submit(self, completed: as_completed, packet: Packet) -> None:
        future = self.client.submit(
            run_packet,
            self.work,
            packet,
            self.packing.durability,
            pure=False,
            workers=self._elsewhere(packet),
            allow_other_workers=True,
        )
        self.flying[future] = packet
        completed.add(future)

    def _elsewhere(self, packet: Packet) -> list[str]:
        """Workers that a block has not failed on, from its third try on; none named where any will do."""
        avoided = self.ladder.avoided(packet[0])
        return [address for address in self.client.nthreads() if address not in avoided] if avoided else []


def _one_has_ended(completed: as_completed) -> bool:
    """Whether some future has; waits a moment for it."""
    if not completed.has_ready():
        with completed.thread_condition:
            completed.thread_condition.wait(timeout=0.1)
    return bool(completed.has_ready())


def _scheduler_lost(error: BaseException) -> UnfinishedError:
    told = " ".join(str(getattr(error, "reason", error)).split())
    return UnfinishedError(f"the scheduler is gone ({told}); run again to go on")


def _outcome(future: Future, packet: Packet) -> list[Event]:
    """The packet's events; if the packet itself was lost, a failed event for each of its blocks."""
    try:
        return list(future.result())
    except KilledWorker as error:
        lost = Event(0, "failed", error="worker died", worker=error.last_worker.address)
    except FutureCancelledError as error:
        if error.reason == SCHEDULER_LOST:
            raise _scheduler_lost(error) from None
        lost = Event(0, "failed", error=f"task was cancelled: {error}")
    except FATAL:
        raise
    except Exception as error:  # noqa: BLE001 - a packet may be lost in any way; its blocks are tried again
        lost = Event(0, "failed", error=describe(error))
    return [replace(lost, number=number) for number in packet]

"""BlockPass: blocks that can be done in any order, with a ledger of their own; one or more make a job."""

import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unet_batch import unsynced
from unet_batch.engine import history
from unet_batch.engine.progress import Reporter
from unet_batch.engine.target import sweep
from unet_batch.errors import MissingError
from unet_batch.schedule.events import Event, Executor, Work, job_here
from unet_batch.store.io_errors import writing
from unet_batch.store.journal import Entry, Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.lock import OutputLock
from unet_batch.tiling import BlockGrid
from unet_batch.unsynced import Durability

FLUSH_SECONDS = 5.0
SYNC_SHARE = 0.02  # of a run's time, that syncing may take; blocks wait for each other where it takes more
SYNC_CREDIT = 0.25  # seconds that it may take beside: in most runs every block is synced by itself


@dataclass(frozen=True, slots=True)
class BlockPass:
    """Blocks to do, and what a worker does with one.

    Args:
        folder: where the ledger of the pass is kept; it must not be another pass's.
        blocks: the blocks.
        work: given how many blocks a worker will have, the work: picklable, block number -> event.
        classes: how many counts a block's event has.
        skipped: a mask of the blocks, of the grid's shape, that are known to be empty before any work; None
            where that is not known of any. Asked when the ledger is new, or was damaged.
        order: ``z`` (the Z-order curve: neighbours share what they read) or ``rows`` (raster order, for
            sources that are stored in strips).
        prepare: done before the first block of a run, once the passes before are complete.
        lost: indices of blocks that an earlier run has done by the ledger, and whose output is gone; they are
            done again.
        complete: done once no block is left, before the next pass; may be repeated.
    """

    folder: Path
    blocks: BlockGrid
    work: Callable[[int], Work]
    classes: int = 1
    skipped: Callable[[], NDArray[np.bool_] | None] = lambda: None
    order: Literal["z", "rows"] = "z"
    prepare: Callable[[], None] = lambda: None
    lost: Callable[[Ledger], Sequence[tuple[int, ...]]] = lambda _: ()
    complete: Callable[[], None] = lambda: None

    def ledger(self, lock: OutputLock | None) -> Ledger:
        """The ledger, new or left by an earlier run, open for its driver.

        Args:
            lock: the job's, where this is the ledger beside it; otherwise the ledger takes a lock of its own.
        """
        with writing(str(self.folder)):
            self.folder.mkdir(parents=True, exist_ok=True)
        try:
            ledger = Ledger.open(self.folder, writable=True, lock=lock)
        except MissingError:
            ledger = Ledger.create(self.folder, self.blocks.counts, self.classes, lock=lock)
        sweep(self.folder)
        if ledger.damage or ledger.totals().blocks[Status.PENDING] == len(self.blocks):
            skipped = self.skipped()
            if skipped is not None and skipped.any():
                ledger.record_all(skipped, Status.SKIPPED)
        return ledger

    def forget_lost(self, ledger: Ledger) -> int:
        """Have blocks done again whose output is gone; how many there are."""
        gone = self.lost(ledger)
        for index in gone:
            ledger.record(Entry(tuple(index), Status.PENDING))
        unsynced.sync()
        return len(gone)

    def left(self) -> int:
        """How many blocks are left to do, by a ledger that nobody need hold."""
        try:
            return int(open_blocks(self.blocks, Ledger.open(self.folder), retry_failed=True).size)
        except MissingError:
            return len(self.blocks)

    def ordered(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """``numbers`` in the order of work."""
        return self.blocks.z_order(numbers) if self.order == "z" else np.sort(numbers)


def without_files(
    files: Callable[[int], Sequence[Path]], blocks: BlockGrid
) -> Callable[[Ledger], Sequence[tuple[int, ...]]]:
    """What a pass calls ``lost``, of blocks that leave ``files`` of their number: one of them is gone."""

    def lost(ledger: Ledger) -> Sequence[tuple[int, ...]]:
        done = [tuple(int(i) for i in index) for index in ledger.with_status(Status.DONE)]
        return [index for index in done if not all(file.is_file() for file in files(blocks.number(index)))]

    return lost


def open_blocks(grid: BlockGrid, ledger: Ledger, *, retry_failed: bool = False) -> NDArray[np.int64]:
    """Raster numbers of the blocks that a run has still to do."""
    wanted = [Status.PENDING] + ([Status.FAILED] if retry_failed else [])
    indices = ledger.with_status(*wanted)
    return np.asarray(np.ravel_multi_index(tuple(indices.T), grid.counts), np.int64)


@dataclass(slots=True)
class PassRun:
    """One driver's run over the open blocks of a pass; its record joins the history beside the ledger.

    Args:
        one: the pass.
        ledger: its ledger, which this driver holds.
        reporter: who is told of each block once it counts.
        durability: whether what blocks wrote, and then the journal, is synced first; many blocks at once
            where syncing each would take more than ``SYNC_SHARE`` of the time.
    """

    one: BlockPass
    ledger: Ledger
    reporter: Reporter
    durability: Durability = "fsync"
    record: history.RunRecord = field(init=False)
    begun: float = field(init=False)
    synced: float = field(init=False)
    syncing: float = 0.0
    waiting: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        job = job_here()
        self.record = history.RunRecord(socket.gethostname(), time.time(), jobs=[job] if job else [])
        self.begun = self.synced = time.monotonic()

    def run(self, execute: Executor, work: Work, numbers: NDArray[np.int64]) -> None:
        """Do the blocks ``numbers``; what is reported of a block is in the ledger, whatever happens next."""
        path = str(self.one.folder)
        self.begun = self.synced = flushed = time.monotonic()
        history.announce(path, self.record)
        try:
            ordered = map(int, self.one.ordered(numbers))
            for event in execute(work, ordered, self.reporter.hooks.stop):
                self.waiting.append(event)
                if self._may_settle():
                    self._settle()
                if time.monotonic() - flushed > FLUSH_SECONDS:
                    self.ledger.flush()
                    history.announce(path, self.record)
                    flushed = time.monotonic()
        finally:
            try:
                self._settle()
            finally:
                history.append(path, self.record)
                history.withdraw(path)

    def _may_settle(self) -> bool:
        now = time.monotonic()
        fits = self.syncing <= SYNC_SHARE * (now - self.begun) + SYNC_CREDIT
        return fits or now - self.synced > FLUSH_SECONDS

    def _settle(self) -> None:
        """What waits counts from here on: it is in the ledger's journal before anyone hears of it."""
        events, self.waiting = self.waiting, []
        if not events:
            return
        self._sync()
        blocks = [self.one.blocks.at(event.number) for event in events]
        for event, block in zip(events, blocks, strict=True):
            self.ledger.record(entry_of(event, block.index))
        self._sync()
        seconds = time.monotonic() - self.begun
        for event, block in zip(events, blocks, strict=True):
            self.record.add(event, block.box.size, seconds)
            self.reporter.block(event, block.box.size, seconds)

    def _sync(self) -> None:
        if self.durability == "none":
            return
        started = time.monotonic()
        unsynced.sync()
        self.synced = time.monotonic()
        self.syncing += self.synced - started


def entry_of(event: Event, index: tuple[int, ...]) -> Entry:
    """An event as the ledger keeps it."""
    return Entry(
        index,
        Status[event.status.upper()],
        checksum=event.checksum,
        seconds=event.seconds,
        counts=event.counts,
        time=time.time(),
        worker=event.worker,
        error=event.error,
    )

"""BlockPass: blocks that can be done in any order, with a ledger of their own; one or more make a job."""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unet_batch.engine import history
from unet_batch.engine.progress import Reporter
from unet_batch.errors import MissingError
from unet_batch.schedule.events import Event, Executor, Work, job_here
from unet_batch.store.io_errors import writing
from unet_batch.store.journal import Entry, Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.lock import OutputLock
from unet_batch.tiling import BlockGrid

FLUSH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class BlockPass:
    """Blocks to do, and what a worker does with one.

    Args:
        folder: where the ledger of the pass is kept; it must not be another pass's.
        blocks: the blocks.
        work: given how many blocks a worker will have, the work: picklable, block number -> event.
        classes: how many counts a block's event has.
        skipped: a mask of the blocks, of the grid's shape, that are known to be empty before any work; None
            where that is not known of any. Asked when the ledger is new.
        order: ``z`` (the Z-order curve: neighbours share what they read) or ``rows`` (raster order, for
            sources that are stored in strips).
        prepare: done before the first block of a run, once the passes before are complete.
        complete: done once no block is left, before the next pass; may be repeated.
    """

    folder: Path
    blocks: BlockGrid
    work: Callable[[int], Work]
    classes: int = 1
    skipped: Callable[[], NDArray[np.bool_] | None] = lambda: None
    order: Literal["z", "rows"] = "z"
    prepare: Callable[[], None] = lambda: None
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
        if ledger.totals().blocks[Status.PENDING] == len(self.blocks):
            skipped = self.skipped()
            if skipped is not None and skipped.any():
                ledger.record_all(skipped, Status.SKIPPED)
        return ledger

    def left(self) -> int:
        """How many blocks are left to do, by a ledger that nobody need hold."""
        try:
            return int(open_blocks(self.blocks, Ledger.open(self.folder), retry_failed=True).size)
        except MissingError:
            return len(self.blocks)

    def ordered(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """``numbers`` in the order of work."""
        return self.blocks.z_order(numbers) if self.order == "z" else np.sort(numbers)


def open_blocks(grid: BlockGrid, ledger: Ledger, *, retry_failed: bool = False) -> NDArray[np.int64]:
    """Raster numbers of the blocks that a run has still to do."""
    wanted = [Status.PENDING] + ([Status.FAILED] if retry_failed else [])
    indices = ledger.with_status(*wanted)
    return np.asarray(np.ravel_multi_index(tuple(indices.T), grid.counts), np.int64)


@dataclass(slots=True)
class PassRun:
    """One driver's run over the open blocks of a pass; its record joins the history beside the ledger."""

    one: BlockPass
    ledger: Ledger
    reporter: Reporter
    record: history.RunRecord = field(init=False)

    def __post_init__(self) -> None:
        job = job_here()
        self.record = history.RunRecord(socket.gethostname(), time.time(), jobs=[job] if job else [])

    def run(self, execute: Executor, work: Work, numbers: NDArray[np.int64]) -> None:
        """Do the blocks ``numbers``; each is in the ledger before the next is reported."""
        path, begun = str(self.one.folder), time.monotonic()
        flushed = begun
        history.announce(path, self.record)
        try:
            ordered = map(int, self.one.ordered(numbers))
            for event in execute(work, ordered, self.reporter.hooks.stop):
                self._settle(event, time.monotonic() - begun)
                if time.monotonic() - flushed > FLUSH_SECONDS:
                    self.ledger.flush()
                    history.announce(path, self.record)
                    flushed = time.monotonic()
        finally:
            history.append(path, self.record)
            history.withdraw(path)

    def _settle(self, event: Event, seconds: float) -> None:
        """The block counts from here on: it is in the ledger's journal before anyone hears of it."""
        block = self.one.blocks.at(event.number)
        self.ledger.record(entry_of(event, block.index))
        self.record.add(event, block.box.size, seconds)
        self.reporter.block(event, block.box.size, seconds)


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

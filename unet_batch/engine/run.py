"""Run: one driver at work on the blocks of one store, from the ledger's open blocks to its last entry."""

import socket
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unet_batch.engine import history
from unet_batch.engine.progress import Hooks, Progress
from unet_batch.schedule.events import Event, Executor, Work, job_here
from unet_batch.store.journal import Entry, Status
from unet_batch.store.ledger import Ledger
from unet_batch.tiling import BlockGrid

FLUSH_SECONDS = 5.0


class Run:
    """One driver's run on the store at ``path``; its record joins the store's history when it ends.

    Args:
        path: the store, with its ledger in it.
        hooks: who watches, and who may end it early.
    """

    def __init__(self, path: str, hooks: Hooks) -> None:
        self.path, self.hooks = path, hooks
        job = job_here()
        self.record = history.RunRecord(socket.gethostname(), time.time(), jobs=[job] if job else [])

    def blocks(
        self, grid: BlockGrid, work: Work, ledger: Ledger, execute: Executor, numbers: NDArray[np.int64]
    ) -> None:
        """Do the blocks ``numbers`` of ``grid`` in Z-order; each is in the ledger before the next is told."""
        ordered = grid.z_order(numbers)
        begun = flushed = time.monotonic()
        history.announce(self.path, self.record)
        try:
            for event in execute(work, map(int, ordered), self.hooks.stop):
                block = grid.at(event.number)
                ledger.record(entry_of(event, block.index))
                self.record.add(event, block.box.size, time.monotonic() - begun)
                self._observe(event, len(ordered))
                if time.monotonic() - flushed > FLUSH_SECONDS:
                    ledger.flush()
                    history.announce(self.path, self.record)
                    flushed = time.monotonic()
        finally:
            history.append(self.path, self.record)
            history.withdraw(self.path)

    def tell(self, message: str) -> None:
        """Let the one who watches know what else happens."""
        self._observe(None, 0, message)

    def _observe(self, event: Event | None, total: int, message: str = "") -> None:
        done = sum(self.record.blocks.values())
        self.hooks.observe(event, Progress(done, total, self.record.pixels, self.record.seconds, message))


def open_blocks(grid: BlockGrid, ledger: Ledger, *, retry_failed: bool = False) -> NDArray[np.int64]:
    """Raster numbers of the blocks that a run has still to do."""
    wanted = [Status.PENDING] + ([Status.FAILED] if retry_failed else [])
    indices = ledger.with_status(*wanted)
    return grid.numbers(indices)


def entry_of(event: Event, index: Sequence[int]) -> Entry:
    """An event as the ledger keeps it."""
    return Entry(
        tuple(index),
        Status[event.status.upper()],
        checksum=event.checksum,
        seconds=event.seconds,
        counts=event.counts,
        time=time.time(),
        worker=event.worker,
        error=event.error,
    )

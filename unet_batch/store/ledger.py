"""Ledger: which blocks of a Masks store are done, skipped or failed, with checksum, seconds and counts.

Written only by the driver, which holds its lock; anyone may read it. A record is in the journal before
``record`` returns, so a killed driver loses nothing that was reported.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import MissingError, OutputError
from unet_batch.store.columns import DAMAGED, Columns
from unet_batch.store.containment import inside, refuse_links
from unet_batch.store.group import holds_records
from unet_batch.store.io_errors import writing
from unet_batch.store.journal import Entry, Journal, Status
from unet_batch.store.ledger_head import LedgerHead
from unet_batch.store.lock import OutputLock

FOLDER = "ledger"


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all blocks. ``pixels`` were classified; times are Unix seconds, 0 before the first record."""

    blocks: dict[Status, int]
    pixels: int
    class_counts: tuple[int, ...]
    seconds: float
    first_time: float
    last_time: float


class Ledger:
    """An open ledger. Not safe to share between threads.

    A ledger opens whatever was flipped or torn in it; ``damage`` has a line for each thing that was, and the
    blocks that it told of are pending.
    """

    def __init__(self, folder: Path, columns: Columns, head: LedgerHead, lock: OutputLock | None) -> None:
        self.folder = folder
        self._columns = columns
        self._lock = lock
        self._journal = Journal(folder / "journal.jsonl")
        self._blocks = np.bincount(columns.status.reshape(-1), minlength=len(Status)).astype(np.int64)
        self._seconds, self._counts = columns.sums()
        self._first, self._last = head.first, head.last
        self.damage: list[str] = [head.damage] * bool(head.damage) + columns.damage

    @classmethod
    def create(
        cls, root: str | Path, grid_shape: tuple[int, ...], classes: int, *, lock: OutputLock | None = None
    ) -> "Ledger":
        """A new ledger under ``root``, all blocks pending, open for writing.

        ``lock`` is the driver's own, where it holds the ledger's already; it stays held after ``close``.

        Raises:
            OutputError: there is a ledger already, or the place cannot be written.
            StoreBusyError: another driver holds the lock.
        """
        folder = Path(root) / FOLDER
        lock = _lock(folder, lock)
        try:
            _refuse_existing(folder)
            Columns.create(folder, grid_shape, classes)
            head = LedgerHead(grid_shape, classes)
            head.write(folder)
            return cls(folder, Columns.open(folder, head, writable=True), head, lock)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def open(cls, root: str | Path, *, writable: bool = False, lock: OutputLock | None = None) -> "Ledger":
        """The ledger under ``root``; with ``writable`` as its one driver.

        ``lock`` as of ``create``.

        Raises:
            MissingError: no ledger there.
            FormatError: a ledger of which too much is damaged to tell its grid.
            StoreBusyError: another driver holds the lock.
        """
        folder = Path(inside(str(root), FOLDER))
        refuse_links(folder)
        if not (folder / "zarr.json").is_file() and not holds_records(folder):
            raise MissingError(f"{folder}: no ledger; check the path of the mask store")
        lock = _lock(folder, lock) if writable else None
        try:
            return cls._opened(folder, lock)
        except BaseException:
            if lock is not None:
                lock.release()
            raise

    @classmethod
    def _opened(cls, folder: Path, lock: OutputLock | None) -> "Ledger":
        # The journal before the arrays: a driver may move records from the one to the other meanwhile.
        entries, damaged = Journal(folder / "journal.jsonl").read()
        head = LedgerHead.read(folder)
        columns = Columns.open(folder, head, writable=lock is not None)
        if lock is not None:
            for array in columns.arrays.values():
                array.clean_scratch()
        ledger = cls(folder, columns, head, lock)
        if damaged:
            ledger.damage.append(
                f"{len(damaged)} lines of its journal are damaged: their blocks are open again"
            )
            if lock is not None:
                ledger._journal.set_aside(damaged, folder / DAMAGED)
        for entry in entries:
            if ledger._fits(entry):
                ledger._apply(entry)
        if lock is not None:
            # Also drops a torn last line, to which the next record would else be glued.
            ledger.flush()
        return ledger

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Blocks on each axis."""
        return self._columns.status.shape

    @property
    def classes(self) -> int:
        """How many class counts a block has."""
        return self._columns.classes

    @property
    def statuses(self) -> NDArray[np.uint8]:
        """Status of every block, of the grid's shape; a copy."""
        return self._columns.status.copy()

    def record(self, entry: Entry) -> None:
        """Set what became of a block; on disk (in the journal) before this returns.

        An entry without time gets the present one; a failure also goes to failures.log.
        """
        entry = entry if entry.time else replace(entry, time=time.time())
        if not self._fits(entry):
            raise ValueError(
                f"{self.folder}: block {entry.index} with {len(entry.counts)} counts does not fit a grid of "
                f"{self.grid_shape} with {self.classes} classes"
            )
        self._journal.append(entry)
        if entry.status is Status.FAILED:
            self._log_failure(entry)
        self._apply(entry)

    def record_all(self, blocks: NDArray[np.bool_], status: Status) -> None:
        """Set the status of all ``blocks`` (a mask of the grid's shape) that nothing is recorded of.

        On disk, not in the journal, before this returns: for what is known of many blocks before any work.
        """
        chosen = blocks & (self._columns.status == Status.PENDING)
        self._columns.put_status(chosen, status)
        count = int(np.count_nonzero(chosen))
        self._blocks[Status.PENDING] -= count
        self._blocks[status] += count
        self.flush()

    def status(self, index: tuple[int, ...]) -> Status:
        """What became of a block."""
        return Status(int(self._columns.status[index]))

    def entry(self, index: tuple[int, ...]) -> Entry:
        """What is recorded of a block, without time, worker and error."""
        return self._columns.get(index)

    def pending(self) -> NDArray[np.int64]:
        """(N, axes) indices of blocks that nothing is recorded of, in row order."""
        return self.with_status(Status.PENDING)

    def with_status(self, *statuses: Status) -> NDArray[np.int64]:
        """(N, axes) indices of the blocks with one of ``statuses``, in row order."""
        return np.argwhere(np.isin(self._columns.status, [int(s) for s in statuses])).astype(np.int64)

    def totals(self) -> Totals:
        """Sums over all blocks."""
        counts = tuple(int(c) for c in self._counts)
        blocks = {status: int(self._blocks[status]) for status in Status}
        return Totals(blocks, sum(counts), counts, self._seconds, self._first, self._last)

    def flush(self) -> None:
        """Move the journal's records into the arrays."""
        self._columns.flush()
        chunks = self._columns.chunks_with_files()
        LedgerHead(self.grid_shape, self.classes, self._first, self._last, chunks).write(self.folder)
        self._journal.empty()

    def close(self) -> None:
        """Flush, and let another driver in; harmless when repeated."""
        if self._lock is not None:
            try:
                self.flush()
            finally:
                self._journal.close()
                self._lock.release()
                self._lock = None

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _fits(self, entry: Entry) -> bool:
        inside = len(entry.index) == len(self.grid_shape) and all(
            0 <= i < n for i, n in zip(entry.index, self.grid_shape, strict=True)
        )
        return inside and len(entry.counts) in {0, self.classes}

    def _apply(self, entry: Entry) -> None:
        old = self._columns.put(entry)
        self._blocks[old.status] -= 1
        self._blocks[entry.status] += 1
        self._seconds += entry.seconds - old.seconds
        self._counts = self._counts - np.asarray(old.counts, np.uint64)
        if entry.counts:
            self._counts = self._counts + np.asarray(entry.counts, np.uint64)
        self._first = min(self._first, entry.time) if self._first else entry.time
        self._last = max(self._last, entry.time)

    def _log_failure(self, entry: Entry) -> None:
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.time))
        text = " ".join(entry.error.split())
        with writing(str(self.folder)), (self.folder / "failures.log").open("a", encoding="utf-8") as log:
            log.write(f"{when} block {','.join(map(str, entry.index))} worker {entry.worker or '-'} {text}\n")


def _lock(folder: Path, held: OutputLock | None) -> OutputLock:
    return OutputLock.inside(folder) if held is None else held.borrowed()


def _refuse_existing(folder: Path) -> None:
    if (folder / "zarr.json").exists():
        raise OutputError(f"{folder}: exists already; open it, or remove the store to begin anew")
    if holds_records(folder):
        raise OutputError(
            f"{folder}: holds records, but its zarr.json is missing; restore that file, or remove the folder "
            "to compute all blocks again"
        )

"""The ledger's journal: one line of JSON per recorded block, appended at once, replayed on opening.

What was appended survives the death of the driver; a torn last line is ignored.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path

from unet_batch import unsynced
from unet_batch.atomic import atomic_write
from unet_batch.store.io_errors import writing


class Status(IntEnum):
    """What became of a block."""

    PENDING = 0
    DONE = 1
    SKIPPED = 2
    FAILED = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One block's record: checksum of its pixels, seconds of work, pixels per class, Unix time."""

    index: tuple[int, ...]
    status: Status
    checksum: int = 0
    seconds: float = 0.0
    counts: tuple[int, ...] = ()
    time: float = 0.0
    worker: str = ""
    error: str = ""


_NAMES = tuple(field.name for field in fields(Entry))


class Journal:
    """An append-only file; only its driver writes it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._descriptor = -1

    def append(self, entry: Entry) -> None:
        """Write one line, in one system call, before returning."""
        # Not asdict, which copies deeply: a driver of a million blocks would spend a third of its time there.
        values = {name: getattr(entry, name) for name in _NAMES}
        line = json.dumps(values, separators=(",", ":")) + "\n"
        with writing(str(self.file)):
            if self._descriptor < 0:
                self._descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            _write_all(self._descriptor, line.encode())
        unsynced.add(self.file)

    def entries(self) -> Iterator[Entry]:
        """What was appended since the journal was last emptied, as far as it is readable."""
        try:
            lines = self.file.read_bytes().split(b"\n")
        except FileNotFoundError:
            return
        for line in lines[:-1]:  # what follows the last newline is nothing or torn
            entry = _parsed(line)
            if entry is not None:
                yield entry

    def empty(self) -> None:
        """Begin anew, by renaming an empty file into place."""
        atomic_write(self.file, "")
        self.close()

    def close(self) -> None:
        """Close the file; the next append opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _write_all(descriptor: int, data: bytes) -> None:
    # A full disk can take a part of the line and refuse the rest; then this raises, and replay drops it.
    while data:
        data = data[os.write(descriptor, data) :]


def _parsed(line: bytes) -> Entry | None:
    try:
        values = json.loads(line)
        return Entry(
            index=tuple(int(i) for i in values["index"]),
            status=Status(values["status"]),
            checksum=int(values["checksum"]),
            seconds=float(values["seconds"]),
            counts=tuple(int(c) for c in values["counts"]),
            time=float(values["time"]),
            worker=str(values["worker"]),
            error=str(values["error"]),
        )
    except (ValueError, KeyError, TypeError):
        return None

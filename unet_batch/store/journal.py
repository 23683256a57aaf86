"""The ledger's journal: one line of JSON per recorded block, appended at once, replayed on opening.

What was appended survives the death of the driver; a torn last line is ignored. Each line ends with a
checksum of what is before it; lines of older versions have none.
"""

import json
import os
from dataclasses import dataclass, fields
from enum import IntEnum
from math import isfinite
from pathlib import Path

import google_crc32c

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
_SUM = ',"sum":'


class Journal:
    """An append-only file; only its driver writes it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._descriptor = -1

    def append(self, entry: Entry) -> None:
        """Write one line, in one system call, before returning."""
        # Not asdict, which copies deeply: a driver of a million blocks would spend a third of its time there.
        values = {name: getattr(entry, name) for name in _NAMES}
        line = _with_sum(json.dumps(values, separators=(",", ":")))
        with writing(str(self.file)):
            if self._descriptor < 0:
                self._descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            _write_all(self._descriptor, line.encode())
        unsynced.add(self.file)

    def read(self) -> tuple[list[Entry], list[bytes]]:
        """What was appended since the journal was last emptied, and lines that are damaged."""
        try:
            lines = self.file.read_bytes().split(b"\n")
        except FileNotFoundError:
            return [], []
        entries, damaged = [], []
        for line in lines[:-1]:  # what follows the last newline is nothing or torn
            try:
                entries.append(_parsed(line))
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                damaged.append(line)
        return entries, damaged

    def set_aside(self, lines: list[bytes], folder: Path) -> None:
        """Keep damaged lines in ``folder``, beside those that are there."""
        with writing(str(folder)):
            folder.mkdir(exist_ok=True)
            with (folder / self.file.name).open("ab") as file:
                file.writelines(line + b"\n" for line in lines)

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


def _with_sum(text: str) -> str:
    return f"{text[:-1]}{_SUM}{google_crc32c.value(text.encode())}}}\n"


def _parsed(line: bytes) -> Entry:
    """The entry of a line, which is as it was written; others raise errors of many kinds."""
    text, mark, tail = line.decode().rpartition(_SUM)
    if mark and tail != f"{google_crc32c.value(f'{text}}}'.encode())}}}":
        raise ValueError("another checksum")
    values = json.loads(line)
    if {*values} - {"sum"} != {*_NAMES}:
        raise KeyError("other keys")
    entry = Entry(
        index=tuple(int(i) for i in values["index"]),
        status=Status(values["status"]),
        checksum=int(values["checksum"]),
        seconds=float(values["seconds"]),
        counts=tuple(int(c) for c in values["counts"]),
        time=float(values["time"]),
        worker=str(values["worker"]),
        error=str(values["error"]),
    )
    numbers = (entry.checksum, *entry.counts)
    if not (isfinite(entry.seconds + entry.time) and all(0 <= n < 2**64 for n in numbers)):
        raise ValueError("numbers that nobody wrote")
    if entry.checksum >= 2**32:
        raise ValueError("numbers that nobody wrote")
    return entry

r"""Standard output and error as the verbs see them: no stream ends a run, and no name rules a terminal.

A reader that leaves (``| head``) or a full device costs what is printed, not the work: what cannot be written
is dropped, and ``Streams.fault`` says so afterwards. Control characters and escape sequences, which names of
files and classes may hold, are shown as ``\x1b``.
"""

import errno
import io
import os
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, TextIO, cast

# The reader of a pipe or the terminal is gone.
_LEFT = {errno.EPIPE, errno.EIO, errno.ECONNRESET}
_KEPT = "\n\t"
# Marks that turn the direction of text around, and its other line ends: they can show a name as another one.
_TURNING = {chr(code) for code in (0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A))}


def clean(text: str) -> str:
    """``text`` without characters that act on a terminal; they are shown as escapes."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(one) for one in text)


def _shown(one: str) -> str:
    acts = one not in _KEPT and (unicodedata.category(one) in {"Cc", "Cs"} or one in _TURNING)
    return one.encode("unicode_escape").decode() if acts else one


class _Sink(io.RawIOBase):
    """A file descriptor whose writes never fail; ``fault`` is the first error."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.fault: OSError | None = None

    def write(self, data: object) -> int:
        view = memoryview(cast("bytes", data))
        if self.fault is None:
            try:
                return os.write(self.descriptor, view)
            except BlockingIOError:
                raise
            except OSError as error:
                self.fault = error
        return view.nbytes

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.descriptor

    def isatty(self) -> bool:
        return os.isatty(self.descriptor)


class _Clean(io.TextIOWrapper):
    """Text on its way to a person; ``raw`` takes it as it is, for a display that draws."""

    def write(self, text: str) -> int:
        super().write(clean(text))
        return len(text)

    def raw(self, text: str) -> int:
        return super().write(text)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """The same stream for a program that moves the cursor itself."""

    stream: _Clean

    def write(self, text: str) -> int:
        return self.stream.raw(text)

    def flush(self) -> None:
        self.stream.flush()

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    @property
    def encoding(self) -> str:
        return self.stream.encoding


@dataclass(slots=True)
class Streams:
    """What became of the streams."""

    sinks: list[_Sink] = field(default_factory=list)

    def flush(self) -> None:
        """Write what waits."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, _Clean):
                stream.flush()

    @property
    def fault(self) -> OSError | None:
        """The error that cost some of standard output; None where all of it went out or nobody wanted it."""
        error = self.sinks[0].fault if self.sinks else None
        return None if error is None or error.errno in _LEFT else error


@contextmanager
def guarded() -> Iterator[Streams]:
    """Standard output and error that never fail, while the context lasts."""
    before, streams = (sys.stdout, sys.stderr), Streams()
    try:
        for name in ("stdout", "stderr"):
            setattr(sys, name, _guard(getattr(sys, name), streams.sinks))
        yield streams
    finally:
        streams.flush()
        sys.stdout, sys.stderr = before


def drawing() -> IO[str]:
    """Standard error for a display that draws with escape sequences of its own."""
    return cast("IO[str]", _Drawing(sys.stderr)) if isinstance(sys.stderr, _Clean) else sys.stderr


def _guard(stream: TextIO | None, sinks: list[_Sink]) -> TextIO | None:
    buffer = getattr(stream, "buffer", None)
    if stream is None or not isinstance(getattr(buffer, "raw", buffer), io.FileIO):
        return stream  # closed, or replaced by whoever calls the program from Python
    stream.flush()
    sinks.append(sink := _Sink(stream.fileno()))
    lines = stream.isatty() or stream is sys.stderr
    return _Clean(io.BufferedWriter(sink), stream.encoding, "backslashreplace", line_buffering=lines)

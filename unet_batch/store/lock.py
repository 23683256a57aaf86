"""OutputLock: the lock of an output, which one process holds while it writes, at the longest until it ends.

A store with a ledger is locked by a file inside it, any other output by a hidden file beside it:

    with OutputLock.beside(Path("masks.tif")):
        ...  # whoever else wants to write masks.tif is refused with StoreBusyError
"""

import errno
import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unet_batch.atomic import sweep
from unet_batch.errors import OutputError, StoreBusyError
from unet_batch.store.containment import inside as contained
from unet_batch.store.io_errors import writing

_TRIES = 100


@dataclass(slots=True)
class OutputLock:
    """Held from ``inside`` or ``beside`` to ``release``, at the longest until the process ends."""

    file: Path
    descriptor: int
    passing: bool
    """Whether the file goes with the lock."""

    @classmethod
    def inside(cls, folder: Path) -> "OutputLock":
        """Lock the output whose folder ``folder`` is in, by the file ``folder/lock``, which stays.

        Raises:
            StoreBusyError: another process holds it, named with its host.
            FormatError: the folder is a link that leads out of its own.
            OutputError: the place cannot be written, or its file system has no locks; nothing is left then.
        """
        contained(str(folder.parent), folder.name)  # of a foreign store it may be a link
        return cls._acquire(folder / "lock", folder.parent, passing=False)

    @classmethod
    def beside(cls, out: Path) -> "OutputLock":
        """Lock the file or folder ``out``, which need not be there; errors are those of ``inside``.

        What killed writers of ``out`` have left beside it is removed.
        """
        if not out.absolute().name:
            raise OutputError(f"{out}: no name for an output; choose another output")
        lock = cls._acquire(out.with_name(f".{out.name}.lock"), out, passing=True)
        sweep(out.parent, of=out)  # whoever wrote it is dead
        return lock

    @classmethod
    def _acquire(cls, file: Path, output: Path, *, passing: bool) -> "OutputLock":
        missing = [folder for folder in (file.parent, *file.parent.parents) if not folder.exists()]
        for attempt in range(_TRIES):
            fresh = not file.exists()
            with writing(str(output)):
                file.parent.mkdir(parents=True, exist_ok=True)
                try:
                    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
                except FileNotFoundError:  # the folder was removed between the two, or it takes no files
                    if attempt == _TRIES - 1:
                        raise
                    continue
            try:
                _lock(descriptor, output)
            except StoreBusyError:
                raise
            except OutputError:
                _leave_nothing(file if fresh else None, missing)
                raise
            if _names(file, descriptor):
                _describe(descriptor)
                return cls(file, descriptor, passing)
            os.close(descriptor)  # whoever held it removed the file: try its successor
        raise StoreBusyError(f"{output}: other processes are writing it; wait for them or stop them")

    @staticmethod
    def held(file: Path) -> bool:
        """Whether some process holds the lock ``file``; False where this cannot be told."""
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in {errno.EWOULDBLOCK, errno.EACCES}
        finally:
            os.close(descriptor)
        return False

    def borrowed(self) -> "OutputLock":
        """The same lock for a part of its holder's work; releasing that part lets nobody in."""
        return OutputLock(self.file, -1, False)

    def release(self) -> None:
        """Let others in; harmless when repeated."""
        if self.descriptor < 0:
            return
        with suppress(OSError):
            if self.passing:
                self.file.unlink()
            else:
                os.ftruncate(self.descriptor, 0)
        os.close(self.descriptor)
        self.descriptor = -1

    def __enter__(self) -> "OutputLock":
        return self

    def __exit__(self, *raised: object) -> None:
        self.release()


def _lock(descriptor: int, output: Path) -> None:
    """Lock what was opened, or close it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = _holder(descriptor)
        os.close(descriptor)
        if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            raise StoreBusyError(f"{output}: {holder} is writing it; wait for it or stop it") from None
        fault = f"this file system has no locks ({error.strerror})"
        raise OutputError(f"{output}: {fault}; mount it with flock or write elsewhere") from None


def _names(file: Path, descriptor: int) -> bool:
    """Whether ``file`` is still the file that was opened."""
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _leave_nothing(file: Path | None, folders: list[Path]) -> None:
    with suppress(OSError):
        if file is not None:
            file.unlink()
        for folder in folders:
            folder.rmdir()


def _describe(descriptor: int) -> None:
    who = {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()}
    with suppress(OSError):  # a courtesy: on a full disk the lock holds without it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(who).encode(), 0)


def _holder(descriptor: int) -> str:
    try:
        who = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {who['pid']} on {who['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"

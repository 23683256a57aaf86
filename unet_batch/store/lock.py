"""A lock file that one driver holds while it lives; the system releases it when the process ends."""

import errno
import fcntl
import json
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from unet_batch.errors import OutputError, StoreBusyError
from unet_batch.store.io_errors import writing


@dataclass(slots=True)
class DriverLock:
    """Held from ``acquire`` to ``release``, at the longest until the process ends."""

    file: Path
    descriptor: int

    @classmethod
    def acquire(cls, file: Path) -> "DriverLock":
        """Take the lock at once, or raise StoreBusyError that names the host and process that hold it."""
        with writing(str(file)):
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = _holder(descriptor)
            os.close(descriptor)
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                raise StoreBusyError(
                    f"{file.parent.parent}: {holder} is writing this store; wait for it or stop it"
                ) from None
            fault = f"this file system has no locks ({error.strerror})"
            raise OutputError(f"{file}: {fault}; mount it with flock or write elsewhere") from None
        _describe(descriptor)
        return cls(file, descriptor)

    @staticmethod
    def held(file: Path) -> bool:
        """Whether some driver holds the lock; False where this cannot be told."""
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

    def borrowed(self) -> "DriverLock":
        """The same lock for a part of its holder's work; releasing that part lets nobody in."""
        return DriverLock(self.file, -1)

    def release(self) -> None:
        """Let others in; harmless when repeated."""
        if self.descriptor >= 0:
            os.ftruncate(self.descriptor, 0)
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> "DriverLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


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

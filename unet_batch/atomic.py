"""Atomic writes: a file or folder is at its place whole, or not at all.

    from unet_batch.atomic import atomic_write

    atomic_write(Path("settings.yaml"), "seed: 1")

Everything is written under a scratch name beside its place, ``.NAME.PID.RANDOM.partial``, and renamed into
it, so that a reader sees the old content or the new. A killed process leaves its scratch behind; whoever has
the lock of the output removes it with ``sweep``.

``fsync`` says whether the content and then its folder are flushed to the disk, so that what is at its place
is whole even after a loss of power. It is on by default; turn it off for what can be made again, such as live
status files.
"""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from unet_batch.errors import OutputError, UnetBatchError, write_fault

_SCRATCH = re.compile(r"\..+\.\d+\.[0-9a-f]{12}\.partial")
_LONGEST_NAME = 255  # bytes, on all file systems in use
# What file systems answer that cannot flush a folder.
_NO_FSYNC = {errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES}


def atomic_write(path: Path, content: str | bytes, *, fsync: bool = True, mode: int = 0o666) -> None:
    """Put ``content`` (text becomes UTF-8) at ``path``, in place of what is there.

    Args:
        path: the file; its folder exists.
        content: all of it.
        fsync: flush it to the disk before it takes its place, and the folder after.
        mode: permissions of the file, as far as the umask lets them.

    Raises:
        OutputError: a full disk, no permission, no such folder.
    """
    data = content.encode() if isinstance(content, str) else content
    with atomic_file(path, fsync=fsync, mode=mode) as file:
        file.write(data)


@contextmanager
def atomic_file(path: Path, *, fsync: bool = True, mode: int = 0o666) -> Iterator[BinaryIO]:
    """A binary file to write ``path`` through; after an error there is none, and an older one is left alone.

    Raises:
        OutputError: a full disk, no permission, no such folder.
    """
    with atomic_path(path, fsync=fsync) as scratch:
        os.close(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
        with scratch.open("r+b") as file:  # by its name, which writers such as tifffile look at
            yield file


@contextmanager
def atomic_path(path: Path, *, fsync: bool = True) -> Iterator[Path]:
    """A path beside ``path`` to write a file or a folder at; at the end it takes the place of ``path``.

    For writers that want a name instead of an open file. A folder can only take the place of nothing or of an
    empty folder.

    Raises:
        OutputError: a full disk, no permission, no such folder, or a folder with content in the way.
    """
    scratch = scratch_path(path)
    try:
        with _refusals(path):
            yield scratch
            publish(scratch, path, fsync=fsync)
    finally:
        _remove(scratch)


def publish(scratch: Path, path: Path, *, fsync: bool = True) -> None:
    """Rename a file or folder into its place ``path``; a file there is replaced, as is an empty folder.

    Raises:
        OutputError: the file system refuses.
    """
    with _refusals(path):
        if fsync:
            _flush_tree(scratch)
        scratch.replace(path)
        if fsync:
            flush_folder(path.parent)


def scratch_path(path: Path) -> Path:
    """A name beside ``path`` that nobody else uses and that ``is_scratch`` knows again."""
    ending = f".{os.getpid()}.{uuid.uuid4().hex[:12]}.partial"
    room = _LONGEST_NAME - len(ending) - 1
    return path.with_name(f".{os.fsdecode(os.fsencode(path.name)[:room])}{ending}")


def is_scratch(name: str) -> bool:
    """Whether a file name is one of ``scratch_path``."""
    return _SCRATCH.fullmatch(name) is not None


def sweep(folder: Path, of: Path | None = None) -> int:
    """Remove what killed writers left in ``folder``, of one of its files alone or of all; how many.

    Call it under the lock of the output.
    """
    left = [path for path in _entries(folder) if is_scratch(path.name)]
    if of is not None:
        named = scratch_path(of).name.rsplit(".", 3)[0]
        left = [path for path in left if path.name.rsplit(".", 3)[0] == named]
    for path in left:
        _remove(path)
    return len(left)


def flush_folder(folder: Path) -> None:
    """Flush the names in ``folder`` to the disk, where its file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _NO_FSYNC:
            raise


def _flush_tree(path: Path) -> None:
    """Flush a file, or a folder with all in it, names after content."""
    if not path.is_dir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return
    for root, _, names in os.walk(path, topdown=False):
        for name in names:
            _flush_tree(Path(root, name))
        flush_folder(Path(root))


def _entries(folder: Path) -> list[Path]:
    with suppress(OSError):
        return list(folder.iterdir())
    return []


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """What the file system refuses, as an OutputError about ``path``; other errors pass as they are."""
    try:
        yield
    except UnetBatchError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: {write_fault(error)}") from error

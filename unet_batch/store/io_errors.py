"""The one place where errors of zarr and of the file system become errors that a person can act on."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unet_batch.errors import FormatError, MissingError, OutputError, UnetBatchError


@contextmanager
def reading_metadata(where: str) -> Iterator[None]:
    """Whatever goes wrong inside is a MissingError or a FormatError about ``where``.

    zarr's parser lets KeyError, TypeError, UnicodeDecodeError and more out on hostile metadata.
    """
    try:
        yield
    except (UnetBatchError, MemoryError):
        raise
    except Exception as error:
        if is_local(where) and not Path(where).exists():
            raise MissingError(f"{where}: no such path; check the path of the Zarr store") from error
        if is_local(where) and Path(where).is_file():
            raise FormatError(f"{where}: a file, not a Zarr store; ingest it first") from error
        if isinstance(error, PermissionError):
            raise FormatError(f"{where}: not readable; ask for read permission") from error
        if isinstance(error, FileNotFoundError):
            raise FormatError(f"{where}: holds no Zarr array or group; check the path") from error
        raise FormatError(
            f"{where}: unusable Zarr metadata ({one_line(error)}); mend its zarr.json or write the store anew"
        ) from error


@contextmanager
def writing(where: str) -> Iterator[None]:
    """Whatever goes wrong inside is an OutputError about ``where``."""
    try:
        yield
    except (UnetBatchError, MemoryError):
        raise
    except Exception as error:
        raise OutputError(f"{where}: {_write_fault(where, error)}") from error


def is_local(where: str) -> bool:
    """Whether ``where`` is a path of this machine's file system and not a URL."""
    return "://" not in where


def one_line(error: BaseException, limit: int = 200) -> str:
    """What an error says, with its kind, in one line of bounded length."""
    text = " ".join(str(error).split())[:limit]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _write_fault(where: str, error: Exception) -> str:
    text = str(error)
    code = error.errno if isinstance(error, OSError) else None
    # zarrs reports the system's error as text only.
    if code in {errno.ENOSPC, errno.EDQUOT} or "os error 28" in text or "os error 122" in text:
        return "the disk or quota is full; free space and start again"
    if code in {errno.EACCES, errno.EPERM, errno.EROFS} or "os error 13" in text or "os error 30" in text:
        return "not writable; ask for write permission or choose another output"
    if code in {errno.ENOTDIR, errno.EEXIST} and is_local(where):
        return "a file is in the way; remove it or choose another output"
    return f"cannot be written ({one_line(error)}); check the disk or choose another output"

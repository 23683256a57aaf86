"""The one place where errors of zarr and of the file system become errors that a person can act on."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from unet_batch import unsynced
from unet_batch.atomic import atomic_file
from unet_batch.errors import (
    FormatError,
    MissingError,
    OutputError,
    UnetBatchError,
    one_line,
    raised_as,
    write_fault,
)


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


def writing(where: str) -> AbstractContextManager[None]:
    """Whatever goes wrong inside is an OutputError about ``where``."""
    return raised_as(OutputError, lambda error: f"{where}: {write_fault(error)}")


@contextmanager
def written_whole(path: Path, *, fsync: bool = False) -> Iterator[BinaryIO]:
    """A file to write ``path`` through; after an error there is none, and an older one is left alone.

    Raises:
        OutputError: a full disk, no permission.
    """
    with writing(str(path)):
        with atomic_file(path, fsync=fsync) as file:
            yield file
        unsynced.add(path, within=path.parent.parent)


def unreadable(file: Path) -> bool:
    """Whether a file is there that this user may not read, which is no damage of its content."""
    try:
        file.open("rb").close()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def is_local(where: str) -> bool:
    """Whether ``where`` is a path of this machine's file system and not a URL."""
    return "://" not in where

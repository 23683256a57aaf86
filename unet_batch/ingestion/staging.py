"""A Zarr store appears at its place whole or not at all. Knows nothing of what is written into it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unet_batch.errors import OutputError, StoreBusyError
from unet_batch.formats.opening import is_zarr
from unet_batch.store.io_errors import writing

SUFFIX = ".partial"


@contextmanager
def staged(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path beside ``out`` to write to; renamed to ``out`` on success, removed on any failure.

    What a killed run left there is replaced.

    Raises:
        OutputError: ``out`` exists (without ``overwrite``), is no Zarr store, or cannot be written.
        StoreBusyError: another process is writing to the same output.
    """
    out = out.absolute()
    refuse_existing(out, overwrite=overwrite)
    partial = out.with_name(out.name + SUFFIX)
    with _held(partial):
        try:
            yield partial
            _move_into_place(partial, out)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


def refuse_existing(out: Path, *, overwrite: bool) -> None:
    """Raise OutputError where ``out`` may not be written: in the way, or its parent is no folder."""
    with writing(str(out)):
        if out.is_dir() and is_zarr(out):
            if not overwrite:
                raise OutputError(
                    f"{out}: exists already; add --overwrite to replace it, or choose another output"
                )
        elif out.is_dir() and any(out.iterdir()):
            raise OutputError(f"{out}: a folder that is no Zarr store is in the way; choose another output")
        elif out.exists() and not out.is_dir():
            raise OutputError(f"{out}: a file is in the way; remove it or choose another output")


@contextmanager
def _held(partial: Path) -> Iterator[None]:
    """The partial folder, empty, locked to this process while it is open."""
    with writing(str(partial)):
        partial.mkdir(parents=True, exist_ok=True)
        folder = os.open(partial, os.O_RDONLY)
    try:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreBusyError(f"{partial}: another process is writing it; wait for it to end") from None
        with writing(str(partial)):
            for left in partial.iterdir():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
        yield
    finally:
        os.close(folder)


def _move_into_place(partial: Path, out: Path) -> None:
    with writing(str(out)):
        old = None
        if out.exists():
            old = out.with_name(out.name + ".replaced")
            shutil.rmtree(old, ignore_errors=True)
            out.rename(old)
        partial.rename(out)
        if old is not None:
            shutil.rmtree(old)

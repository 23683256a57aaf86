"""A Zarr store appears at its place whole or not at all. Knows nothing of what is written into it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unet_batch.errors import OutputError, StoreBusyError
from unet_batch.formats.opening import is_zarr
from unet_batch.store.group import MARK
from unet_batch.store.io_errors import writing
from unet_batch.store.lock import OutputLock
from unet_batch.store.output import Output, remove_marked

SUFFIX = ".partial"


@contextmanager
def staged(out: Path, *, overwrite: bool) -> Iterator[Path]:
    """A path beside ``out`` to write to; renamed to ``out`` on success, removed on any failure.

    What a killed run left there is replaced; it is known by a mark.

    Raises:
        OutputError: ``out`` exists (without ``overwrite``), is no Zarr store, or cannot be written.
        StoreBusyError: another process is writing to the same output.
    """
    out = out.absolute()
    refuse_existing(out, overwrite=overwrite)
    with Output.held(out) as output:
        refuse_existing(out, overwrite=overwrite)
        partial = _emptied(out.with_name(out.name + SUFFIX))
        try:
            yield partial
            refuse_existing(out, overwrite=overwrite)
            output.publish(partial, fsync=False)
        except BaseException:
            with suppress(OSError):
                remove_marked(partial)
            raise


def refuse_existing(out: Path, *, overwrite: bool) -> None:
    """Raise OutputError where ``out`` may not be written: in the way, or its parent is no folder."""
    with writing(str(out)):
        if out.is_dir() and is_zarr(out):
            if not overwrite:
                raise OutputError(
                    f"{out}: exists already; add --overwrite to replace it, or choose another output"
                )
            _refuse_results(out)
        elif out.is_dir() and any(out.iterdir()):
            raise OutputError(f"{out}: a folder that is no Zarr store is in the way; choose another output")
        elif out.exists() and not out.is_dir():
            raise OutputError(f"{out}: a file is in the way; remove it or choose another output")


def _refuse_results(out: Path) -> None:
    """What blocks were computed for is not removed by the way."""
    for store in (out, *out.glob("labels/*")):
        ledger = store / "ledger"
        if OutputLock.held(ledger / "lock"):
            raise StoreBusyError(f"{store}: another process is writing it; wait for it or stop it")
        if (ledger / "zarr.json").exists():
            raise OutputError(
                f"{store}: holds the blocks of a prediction or mosaic; move or remove it yourself, or choose "
                "another output"
            )


def _emptied(partial: Path) -> Path:
    """The folder ``partial``, with the mark alone in it."""
    with writing(str(partial)):
        if (partial / MARK).exists():
            remove_marked(partial)
        elif partial.exists() and (not partial.is_dir() or any(partial.iterdir())):
            raise OutputError(f"{partial}: in the way; move or remove it, or choose another output")
        partial.mkdir(exist_ok=True)
        (partial / MARK).touch()
    return partial

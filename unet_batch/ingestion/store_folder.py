"""StoreFolder: an ingested Zarr store as the target of a job, whole at its place or not at all."""

from pathlib import Path

from unet_batch.engine.partial_folder import PartialFolder
from unet_batch.errors import OutputError, StoreBusyError
from unet_batch.formats.opening import is_zarr
from unet_batch.store.io_errors import writing
from unet_batch.store.ledger import FOLDER
from unet_batch.store.lock import OutputLock


class StoreFolder(PartialFolder):
    """A store that grows in ``OUT.partial``. Only Zarr stores are replaced, and only where asked to."""

    def check(self) -> None:
        """Refuse a place that may not be written, unless a killed run has published its output there."""
        if self.published() is None:
            if self.out.exists() and not self.overwrite:
                self._sweep()
            refuse_existing(self.out, overwrite=self.overwrite)
        PartialFolder.check(self)


def named(out: str | Path) -> Path:
    """``out`` as a path with a name, as its caller gave it where it has one."""
    path = Path(out)
    return path if path.name else path.absolute()


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
        ledger = store / FOLDER
        if OutputLock.held(ledger / "lock"):
            raise StoreBusyError(f"{store}: another process is writing it; wait for it or stop it")
        if (ledger / "zarr.json").exists():
            raise OutputError(
                f"{store}: holds the blocks of a prediction or mosaic; move or remove it yourself, or choose "
                "another output"
            )

"""Creation: a new store with a ledger while it is being made, and what goes away should that fail."""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unet_batch.atomic import scratch_path
from unet_batch.store.group import refuse_occupied
from unet_batch.store.lock import OutputLock

LEDGER = "ledger"


@dataclass(frozen=True, slots=True)
class Creation:
    """The place of a new store, which this process alone writes until the end of the ``with`` block.

    Attributes:
        ours: whether all that lies there is of this run; what an earlier one left is not.
        made: whether this run made the folder, too.
    """

    path: Path
    lock: OutputLock
    ours: bool
    made: bool

    @classmethod
    def begin(cls, path: str | Path) -> "Creation":
        """Lock a place where no store is, or only what a killed creation left.

        Raises:
            OutputError: something is there already, or the place cannot be written.
            StoreBusyError: another process writes there.
        """
        place = Path(path)
        refuse_occupied(str(place))
        made = not place.exists()
        lock = OutputLock.inside(place / LEDGER)
        try:
            refuse_occupied(str(place))
            ledger = [entry.name for entry in (place / LEDGER).iterdir()]
            ours = [entry.name for entry in place.iterdir()] == [LEDGER] and ledger == ["lock"]
        except BaseException:
            lock.release()
            raise
        return cls(place, lock, ours, made and ours)

    def discard(self) -> None:
        """Remove what this run made; a folder that was there before stays, as does what lay in it."""
        if not self.ours:
            return
        if self.made:
            remove(self.path)
            return
        for entry in sorted(self.path.iterdir(), key=lambda entry: entry.name == LEDGER):
            remove(entry)

    def __enter__(self) -> "Creation":
        return self

    def __exit__(self, *raised: object) -> None:
        self.lock.release()


def remove(path: Path) -> None:
    """Remove a folder or file whose lock is held, as far as that goes.

    It is renamed first: whoever comes to the place now finds it empty and never meets the removal.
    """
    away = scratch_path(path)
    with suppress(OSError):
        path.rename(away)
        if away.is_dir():
            shutil.rmtree(away)
        else:
            away.unlink()

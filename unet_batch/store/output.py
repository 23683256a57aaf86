"""Output: a file or folder that one run alone writes, and that appears at its place whole or not at all.

with Output.held(Path("masks.tif")) as output:
whole = make_it_somewhere_beside()
output.publish(whole)
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from unet_batch import atomic
from unet_batch.errors import OutputError
from unet_batch.store.group import MARK
from unet_batch.store.io_errors import writing
from unet_batch.store.lock import OutputLock

_OLD = "old"

Found = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Output:
    """The place ``path``, locked. ``found`` tells what lay there when the lock was taken."""

    path: Path
    found: Found

    @classmethod
    @contextmanager
    def held(cls, path: Path) -> Iterator["Output"]:
        """``path`` for the length of the block.

        What a run that was killed while it published left half done is put in order: the store that it was
        replacing comes back, unless its successor is in place.

        Raises:
            StoreBusyError: another process writes there.
            OutputError: the place cannot be written, or its file system has no locks.
        """
        with OutputLock.beside(path):
            with writing(str(path)):
                _settle(path)
                if path.is_dir() and _aside(path).exists():
                    raise OutputError(f"{_aside(path)}: in the way; move or remove it")
            yield cls(path, _look(path))

    def require_unchanged(self) -> None:
        """Raise OutputError where what lies at the place is not what lay there when the lock was taken."""
        if _look(self.path) != self.found:
            raise OutputError(
                f"{self.path}: was written by another program meanwhile; choose another output, or remove it "
                "and run again"
            )

    def publish(self, whole: Path, *, fsync: bool = True) -> None:
        """Rename ``whole``, on the same file system, to the place; what lay there when the run began goes.

        ``fsync`` flushes it to the disk before.

        Raises:
            OutputError: what lies there now is not what lay there then, or the place cannot be written.
        """
        self.require_unchanged()
        with writing(str(self.path)):
            if whole.is_dir() and self.path.is_dir() and any(self.path.iterdir()):
                self._make_room(whole)
            try:
                atomic.publish(whole, self.path, fsync=fsync)
            finally:
                _settle(self.path)

    def _make_room(self, whole: Path) -> None:
        """Move the old folder aside; until ``whole`` has its place, ``_settle`` brings it back."""
        aside = _aside(self.path)
        (whole / MARK).touch()
        aside.mkdir()
        (aside / MARK).touch()
        self.path.rename(aside / _OLD)


def _settle(path: Path) -> None:
    """Finish or undo what was begun at ``path``; only what bears the mark is touched."""
    aside = _aside(path)
    ours = (aside / MARK).exists()
    if not path.exists():
        if ours and (aside / _OLD).exists():
            (aside / _OLD).rename(path)
            remove_marked(aside)
    elif (path / MARK).exists():
        if ours:
            remove_marked(aside)
        (path / MARK).unlink()
    elif ours and not (aside / _OLD).exists():
        remove_marked(aside)


def remove_marked(folder: Path) -> None:
    """Remove a folder that bears the mark, the mark last: a kill on the way leaves it known as ours."""
    for entry in folder.iterdir():
        if entry.name != MARK:
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    (folder / MARK).unlink(missing_ok=True)
    folder.rmdir()


def _aside(path: Path) -> Path:
    return path.with_name(f"{path.name}.replaced")


def _look(path: Path) -> Found:
    try:
        seen = path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(f"{path}: cannot be read ({error.strerror}); choose another output") from None
    return seen.st_dev, seen.st_ino, seen.st_mtime_ns

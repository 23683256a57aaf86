"""PartialFolder: ``OUT.partial``, where an output grows that comes to its place by one rename.

::

    OUT.partial/
      plan.json        what is computed
      ledger/          lock, records of the blocks, history
      ...              parts that blocks leave, ledgers of further passes
      content.SUFFIX   the output itself
      published.json   the output is whole: its plan, and what finishing it found; written before the rename
"""

import json
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_batch import atomic
from unet_batch.atomic import atomic_write
from unet_batch.config import Config
from unet_batch.engine.target import LOCK, Facts, Target, has_records, lock_of, remove_bare, sweep
from unet_batch.errors import FormatError, OutputError, UnetBatchError
from unet_batch.store.creation import remove
from unet_batch.store.io_errors import writing
from unet_batch.store.ledger import FOLDER
from unet_batch.store.lock import OutputLock

_PLAN, _PUBLISHED = "plan.json", "published.json"


@dataclass(frozen=True, slots=True)
class PartialFolder:
    """``OUT.partial``, for an output that comes to its place when it is whole.

    Args:
        out: the place.
        overwrite: replace what is there, and what another plan has begun.
        suffix: of the content; readers of files go by names.
    """

    out: Path
    overwrite: bool = False
    suffix: str = ""
    keeps_failed: bool = False

    @property
    def folder(self) -> Path:
        """Where the output grows."""
        return self.out.with_name(f"{self.out.name}.partial")

    @property
    def place(self) -> Path:
        """The output's own."""
        return self.out

    @property
    def content(self) -> Path:
        """The output itself, until it is published."""
        return self.folder / f"content{self.suffix}"

    def check(self) -> None:
        """Refuse an output that is there, unless it is to be replaced or waits for its folder's removal."""
        if self._in_the_way and not self.overwrite and self.published() is None:
            self._sweep()
            raise OutputError(
                f"{self.out}: exists already; choose another output, remove it or give --overwrite"
            )
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputError(f"{self.folder}: a file is in the way; remove it")

    def _sweep(self) -> None:
        """Remove what a killed run has left of an output that is there, unless somebody is at work on it."""
        with suppress(UnetBatchError), OutputLock.beside(self.out):
            if not OutputLock.held(self.folder / LOCK):
                remove_bare(self.folder)

    def stored_plan(self) -> Mapping[str, Any] | None:
        """The plan in the folder.

        Raises:
            FormatError: a folder that this program did not leave, or a damaged plan.
        """
        try:
            stored = json.loads((self.folder / _PLAN).read_text(encoding="utf-8"))
        except FileNotFoundError:
            stored = self._read_published().get("plan")
            if stored is None:
                self._require_own()
                return None
        except (OSError, ValueError):
            stored = None
        if not isinstance(stored, dict):
            raise FormatError(f"{self.folder / _PLAN}: cannot be read; remove {self.folder} to begin anew")
        return stored

    def clear(self) -> None:
        """Empty the folder but for its lock; what a killed run was replacing goes back to its place."""
        with writing(str(self.folder)):
            replaced = self.folder / "replaced"
            if replaced.exists() and not self.out.exists():
                replaced.rename(self.out)
            (self.folder / _PLAN).unlink(missing_ok=True)
            for entry in self.folder.iterdir():
                if entry.name != FOLDER:
                    _remove(entry)
            for entry in (self.folder / FOLDER).iterdir():
                if entry.name != LOCK.name:
                    _remove(entry)

    def keep(self, plan: Config) -> None:
        """Write the plan."""
        with writing(str(self.folder)):
            atomic_write(self.folder / _PLAN, plan.model_dump_json(indent=1))

    def reopen(self) -> None:
        """Remove what killed writers left of the folder's own files."""
        sweep(self.folder)

    def may_begin_anew(self) -> bool:
        """Whether the folder may be emptied: asked for, or no block is recorded in it."""
        return self.overwrite or not has_records(self.folder)

    @property
    def cure(self) -> str:
        """What a person can do about another plan."""
        return f"give --overwrite, or remove {self.folder} to begin anew"

    def discard(self) -> None:
        """Remove the folder, and last in it what says that the output is published.

        What cannot be removed now is left with that, for the next run.
        """
        published = self.folder / _PUBLISHED
        last = [self.folder / FOLDER, self.folder / _PLAN]
        with suppress(OSError):
            for entry in self.folder.iterdir():
                if entry not in [*last, published]:
                    _remove(entry)
            for entry in last:
                remove(entry)  # at once: half a ledger would be taken for a damaged one
            if {*self.folder.iterdir()} <= {published}:
                atomic.flush_folder(self.folder)
                published.unlink(missing_ok=True)
                self.folder.rmdir()

    def published(self) -> Facts | None:
        """What the folder says of an output that is in its place: only the folder's removal is left."""
        if self.content.exists() or not self.out.exists():
            return None
        facts: Facts | None = self._read_published().get("facts")
        return facts

    def finished(self) -> bool:
        """Never: an output that is whole is in its place."""
        return False

    def is_replaced(self) -> bool:
        """Never: what is in ``OUT.partial`` is not finished."""
        return False

    def publish(self, facts: Facts) -> None:
        """Rename the content into its place, and remove the folder.

        What is to be replaced waits in the folder, so that a kill leaves one of the two to the next run.
        """
        with writing(str(self.out)):
            if self.published() is None:
                self.check()
                told = {"plan": self.stored_plan(), "facts": facts}
                atomic_write(self.folder / _PUBLISHED, json.dumps(told))
                if self.out.exists():
                    replaced = self.folder / "replaced"
                    _remove(replaced)
                    self.out.rename(replaced)
                atomic.publish(self.content, self.out)
        self.discard()

    def _read_published(self) -> dict[str, Any]:
        try:
            told = json.loads((self.folder / _PUBLISHED).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return told if isinstance(told, dict) else {}

    @property
    def _in_the_way(self) -> bool:
        return self.out.exists() and not (self.out.is_dir() and not any(self.out.iterdir()))

    def _require_own(self) -> None:
        """Refuse a folder with things in it that a killed run of this version cannot have left."""
        own = {FOLDER, self.content.name}
        foreign = [entry.name for entry in self.folder.iterdir() if not _is_own(entry, own)]
        if foreign:
            raise OutputError(
                f"{self.folder}: holds {foreign[0]}, which no run of this version began; remove it"
            )


def drop_leftovers(target: Target) -> None:
    """Remove what a killed run has left of an output that is known to be whole."""
    if target.folder.is_dir():
        with lock_of(target):
            target.discard()


def _is_own(entry: Path, names: set[str]) -> bool:
    return entry.name in names or atomic.is_scratch(entry.name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

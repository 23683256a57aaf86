"""Target: where the output of a block job grows, and how it comes to its place.

Mask stores and mosaics grow at their final place, where people watch them. Files and ingested images grow in
``OUT.partial`` beside their place and come to it by one rename::

    OUT.partial/
      plan.json        what is computed
      ledger/          lock, records of the blocks, history
      ...              parts that blocks leave, ledgers of further passes
      content.SUFFIX   the output itself
      published.json   the output is whole: its plan, and what finishing it found; written before the rename
"""

import json
import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from unet_batch import atomic
from unet_batch.atomic import atomic_write
from unet_batch.config import Config
from unet_batch.engine import history
from unet_batch.errors import DamageError, FormatError, OutputError, UnetBatchError
from unet_batch.store.io_errors import writing
from unet_batch.store.ledger import FOLDER, Ledger
from unet_batch.store.lock import OutputLock

LOCK = Path(FOLDER) / "lock"
Facts = dict[str, Any]
"""What finishing an output found, as JSON: kept with it, for a run that comes after a kill."""


class Target(Protocol):
    """An output for the length of a run. All but ``folder`` and ``check`` is called with the lock held."""

    @property
    def keeps_failed(self) -> bool:
        """Whether an output with failed blocks is finished all the same; else failed blocks are an error."""

    @property
    def folder(self) -> Path:
        """Where the output grows, with its lock, ledger and history."""

    def check(self) -> None:
        """Refuse a place that cannot take the output; called before anything is made, and again locked."""

    def stored_plan(self) -> Mapping[str, Any] | None:
        """The plan that an earlier run began with, as JSON; None where nothing is begun."""

    def clear(self) -> None:
        """Remove what a run left that was killed before it had kept its plan, or another plan's output."""

    def keep(self, plan: Config) -> None:
        """Keep the plan, once the job has made what its blocks are written to."""

    def reopen(self) -> None:
        """Go on with what is begun: remove what killed writers left."""

    def may_begin_anew(self) -> bool:
        """Whether another plan's output may go: the caller asked for that, or it has no block."""

    @property
    def cure(self) -> str:
        """What a person can do about another plan, beside using its settings."""

    def discard(self) -> None:
        """Remove what this run has begun; never called for what another run has."""

    def published(self) -> Facts | None:
        """What finishing found, of an output whose run was killed after publishing it; else None."""

    def finished(self) -> bool:
        """Whether an output that grows at its final place was finished by an earlier run."""

    def publish(self, facts: Facts) -> None:
        """The output is whole: say so, and put it in its place."""


@dataclass(frozen=True, slots=True)
class InPlaceStore(ABC):
    """A store that grows at its final place, with its ledger inside; blocks that fail are set aside."""

    path: str
    keeps_failed: bool = True
    cure: str = "write to another store"

    @property
    def folder(self) -> Path:
        """The store."""
        return Path(self.path)

    @abstractmethod
    def check(self) -> None:
        """Refuse a place that holds something else than such a store."""

    @abstractmethod
    def stored_plan(self) -> Mapping[str, Any] | None:
        """The plan that the store was begun with."""

    def clear(self) -> None:  # noqa: B027 - what a killed creation left is replaced by the next one
        """Nothing."""

    def keep(self, plan: Config) -> None:  # noqa: B027 - a store may be created with the plan in it
        """Nothing, unless the store keeps its plan apart."""

    @abstractmethod
    def reopen(self) -> None:
        """Remove what killed writers left."""

    def may_begin_anew(self) -> bool:
        """Never: what a store holds is what a run was for."""
        return False

    @abstractmethod
    def discard(self) -> None:
        """Remove what this run has begun."""

    def published(self) -> Facts | None:
        """Never: a store is at its place from the beginning."""
        return None

    @abstractmethod
    def finished(self) -> bool:
        """Whether the coarse levels are there."""

    @abstractmethod
    def publish(self, facts: Facts) -> None:
        """Say in the store that its coarse levels are there."""


@dataclass(frozen=True, slots=True)
class PartialFolder:
    """``OUT.partial``, for an output that comes to its place when it is whole.

    Args:
        out: the place.
        overwrite: replace what is there, and what another plan has begun; None where the verb has no such
            option.
        suffix: of the content; readers of files go by names.
    """

    out: Path
    overwrite: bool | None = None
    suffix: str = ""
    keeps_failed: bool = False

    @property
    def folder(self) -> Path:
        """Where the output grows."""
        return self.out.with_name(f"{self.out.name}.partial")

    @property
    def content(self) -> Path:
        """The output itself, until it is published."""
        return self.folder / f"content{self.suffix}"

    def check(self) -> None:
        """Refuse an output that is there, unless it is to be replaced or waits for its folder's removal."""
        if self._in_the_way and not self.overwrite and self.published() is None:
            with suppress(OSError):
                self.folder.rmdir()  # the last that a killed run has left
            others = "or remove it" if self.overwrite is None else "remove it or give --overwrite"
            comma = "" if self.overwrite is None else ","
            raise OutputError(f"{self.out}: exists already; choose another output{comma} {others}")
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputError(f"{self.folder}: a file is in the way; remove it")

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
        return bool(self.overwrite) or not _has_records(self.folder)

    @property
    def cure(self) -> str:
        """What a person can do about another plan."""
        overwrite = "" if self.overwrite is None else "give --overwrite, or "
        return f"{overwrite}remove {self.folder} to begin anew"

    def discard(self) -> None:
        """Remove the folder, and last in it what says that the output is published."""
        last = [self.folder / FOLDER, self.folder / _PLAN, self.folder / _PUBLISHED]
        with suppress(OSError):
            for entry in self.folder.iterdir():
                if entry not in last:
                    _remove(entry)
            for entry in last:
                _remove(entry)
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


_OLD_SCRATCH = re.compile(r"\.[0-9a-f]{32}\.partial$")
_PLAN, _PUBLISHED = "plan.json", "published.json"


def sweep(folder: Path) -> None:
    """Remove what killed drivers left in the folder of an output and in its ledger; with its lock held."""
    history.withdraw(str(folder))
    for place in (folder, folder / FOLDER):
        atomic.sweep(place)
        for scratch in place.glob("?*.*.partial"):  # of stores that versions before 0.2 began
            if _OLD_SCRATCH.search(scratch.name):
                scratch.unlink(missing_ok=True)


def drop_leftovers(target: Target) -> None:
    """Remove what a killed run has left of an output that is known to be whole."""
    if target.folder.is_dir():
        with lock_of(target):
            target.discard()


@contextmanager
def lock_of(target: Target) -> Iterator[OutputLock]:
    """The one lock of an output, which its driver holds for the length of a run.

    Raises:
        StoreBusyError: another driver is at work there.
        OutputError: the place cannot be written, or has no locks.
    """
    # Other verbs lock a file's place; older versions of this one the ledger in its folder.
    beside = OutputLock.beside(target.out) if isinstance(target, PartialFolder) else nullcontext()
    with beside, OutputLock.inside(target.folder / FOLDER) as lock:
        yield lock


def refuse_records(folder: Path) -> None:
    """Raise DamageError where a ledger in ``folder`` has records, but the plan is missing."""
    if _has_records(folder):
        raise DamageError(
            f"{folder}: has blocks in its ledger, but its plan is missing; bring the metadata back from a "
            "copy, or move the folder away to begin anew"
        )


def remove_bare(folder: Path) -> None:
    """Remove a folder that holds nothing but a lock, and the folder of labels that was made for it."""
    with suppress(OSError):
        if [*folder.iterdir()] == [folder / FOLDER] and [*(folder / FOLDER).iterdir()] == [folder / LOCK]:
            shutil.rmtree(folder)
            if folder.parent.name == "labels":
                folder.parent.rmdir()


def _is_own(entry: Path, names: set[str]) -> bool:
    return entry.name in names or atomic.is_scratch(entry.name)


def _has_records(folder: Path) -> bool:
    """Whether some ledger in the folder holds a record, as far as that can be told."""
    for ledger in folder.glob(f"**/{FOLDER}/zarr.json"):
        try:
            totals = Ledger.open(ledger.parent.parent).totals()
        except UnetBatchError:
            return True
        if totals.last_time:
            return True
    return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

"""Target: where the output of a block job grows, and how it comes to its place.

Mask stores and mosaics grow at their final place, where people watch them (``InPlaceStore``). Files and
ingested images grow beside their place (``partial_folder.py``).
"""

import re
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from unet_batch import atomic
from unet_batch.config import Config
from unet_batch.engine import history
from unet_batch.errors import DamageError, UnetBatchError
from unet_batch.store.group import empty, is_emptying, refuse_foreign
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

    @property
    def place(self) -> Path | None:
        """Where the output comes to once it is whole, which is locked, too; None where it grows there."""

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

    def is_replaced(self) -> bool:
        """Whether the caller asked to begin anew what an earlier run finished, even with the same plan."""

    def publish(self, facts: Facts) -> None:
        """The output is whole: say so, and put it in its place."""


@dataclass(frozen=True, slots=True)
class InPlaceStore(ABC):
    """A store that grows at its final place, with its ledger inside; blocks that fail are set aside.

    Args:
        path: the store.
        overwrite: begin anew a store that is finished, or that another plan has begun.
    """

    path: str
    overwrite: bool = False
    keeps_failed: bool = True
    cure: str = "give --overwrite, or write to another store"
    plan_file: ClassVar[Path] = Path("zarr.json")
    """What makes the folder a store that is begun."""

    @property
    def folder(self) -> Path:
        """The store."""
        return Path(self.path)

    @property
    def place(self) -> None:
        """The store is at its place from the beginning."""
        return

    @abstractmethod
    def check(self) -> None:
        """Refuse a place that holds something else than such a store."""

    @abstractmethod
    def stored_plan(self) -> Mapping[str, Any] | None:
        """The plan that the store was begun with."""

    def clear(self) -> None:
        """Empty a store but for its lock; what a killed creation left is replaced by the next one."""
        if is_emptying(self.folder) or self.stored_plan() is not None:
            empty(self.folder, self.plan_file, LOCK)

    def keep(self, plan: Config) -> None:  # noqa: B027 - a store may be created with the plan in it
        """Nothing, unless the store keeps its plan apart."""

    @abstractmethod
    def reopen(self) -> None:
        """Remove what killed writers left."""

    def may_begin_anew(self) -> bool:
        """Whether that was asked for; things that this program did not make are in the way of it.

        Raises:
            OutputError: such things are in the store.
        """
        if self.overwrite:
            refuse_foreign(self.folder)
        return self.overwrite

    def is_replaced(self) -> bool:
        """Whether the store is finished, and to be made again."""
        return self.overwrite and self.finished() and self.may_begin_anew()

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


_OLD_SCRATCH = re.compile(r"\.[0-9a-f]{32}\.partial$")


def sweep(folder: Path) -> None:
    """Remove what killed drivers left in the folder of an output and in its ledger; with its lock held."""
    history.withdraw(str(folder))
    for place in (folder, folder / FOLDER):
        atomic.sweep(place)
        for scratch in place.glob("?*.*.partial"):  # of stores that versions before 0.2 began
            if _OLD_SCRATCH.search(scratch.name):
                scratch.unlink(missing_ok=True)


@contextmanager
def lock_of(target: Target) -> Iterator[OutputLock]:
    """The one lock of an output, which its driver holds for the length of a run.

    Raises:
        StoreBusyError: another driver is at work there.
        OutputError: the place cannot be written, or has no locks.
    """
    # Other verbs lock a file's place; older versions of this one the ledger in its folder.
    beside = nullcontext() if target.place is None else OutputLock.beside(target.place)
    with beside, OutputLock.inside(target.folder / FOLDER) as lock:
        yield lock


def refuse_records(folder: Path) -> None:
    """Raise DamageError where a ledger in ``folder`` has records, but the plan is missing."""
    if has_records(folder) and not is_emptying(folder):
        raise DamageError(
            f"{folder}: has blocks in its ledger, but its plan is missing; bring the metadata back from a "
            "copy, or move the folder away to begin anew"
        )


def remove_bare(folder: Path) -> None:
    """Remove a folder that holds nothing but a lock, and the folder of labels that was made for it."""
    with suppress(OSError):
        inside = [*folder.iterdir()]
        ledger = [*(folder / FOLDER).iterdir()] if inside == [folder / FOLDER] else []
        if not inside or (inside == [folder / FOLDER] and ledger in ([], [folder / LOCK])):
            shutil.rmtree(folder)
            if folder.parent.name == "labels":
                folder.parent.rmdir()


def has_records(folder: Path) -> bool:
    """Whether some ledger in the folder holds a record, as far as that can be told."""
    for ledger in folder.glob(f"**/{FOLDER}/zarr.json"):
        try:
            totals = Ledger.open(ledger.parent.parent).totals()
        except UnetBatchError:
            return True
        if totals.last_time:
            return True
    return False

"""Unfinished: a product that is being made, in ``OUT.partial`` beside its place: plan, ledger and parts.

Whoever starts the same again goes on there. What is done with the blocks is the product's.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_batch.atomic import atomic_write
from unet_batch.config import Config
from unet_batch.engine.parts import Parts
from unet_batch.errors import (
    DamageError,
    InputError,
    MissingError,
    OutputError,
    PlanMismatchError,
    StoreBusyError,
    UnetBatchError,
)
from unet_batch.store.io_errors import writing
from unet_batch.store.journal import Status
from unet_batch.store.ledger import FOLDER, Ledger
from unet_batch.store.lock import OutputLock

_PLAN = "plan.json"
_OLDER = "request.json"  # of exports, before they kept a plan like all others


def hash_of(plan: Config) -> str:
    """SHA-256 of a plan's JSON."""
    return hashlib.sha256(json.dumps(plan.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def check_output(out: Path, suffixes: tuple[str, ...], *, replace: bool = False) -> None:
    """Refuse an output of another ending than ``suffixes``, in no folder, or there unless to ``replace``."""
    if out.suffix not in suffixes:
        raise InputError(f"{out}: ends in none of {', '.join(suffixes)}; give such a name")
    if not out.parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist; create it first")
    if out.is_dir() or (out.exists() and not replace):
        raise OutputError(f"{out}: exists already; choose another output or remove it")


@dataclass(frozen=True, slots=True)
class Unfinished:
    """The folder of a product for the length of a run; this driver holds its lock."""

    folder: Path
    ledger: Ledger

    def parts(self, name: str) -> Parts:
        """The parts that blocks leave under ``name``."""
        return Parts(str(self.folder / name))

    @property
    def whole(self) -> bool:
        """Whether no block is left.

        Raises:
            DamageError: blocks were set aside.
        """
        blocks = self.ledger.totals().blocks
        if blocks[Status.PENDING]:
            return False
        if failed := blocks[Status.FAILED]:
            log = self.folder / FOLDER / "failures.log"
            last = log.read_text(encoding="utf-8", errors="replace").splitlines()[-1][:300]
            raise DamageError(f"{self.folder}: {failed} blocks failed ({last}); mend the cause and run again")
        return True


@contextmanager
def unfinished(out: Path, plan: Config, counts: tuple[int, ...]) -> Iterator[Unfinished]:
    """The folder of the product ``out``, new or left by an earlier run; ``counts`` are blocks on each axis.

    The caller holds ``out``. The folder goes once ``out`` is there. An error before the first block leaves
    nothing of a new one.

    Raises:
        PlanMismatchError: the folder belongs to another plan.
        StoreBusyError: another driver is at work there.
        OutputError: the place cannot be written.
    """
    folder, begun = begin(out, plan.model_dump(mode="json"))
    ledger = None
    try:
        with _ledger(folder, counts) as ledger:
            yield Unfinished(folder, ledger)
    except UnetBatchError:
        if begun and (ledger is None or not ledger.totals().last_time):
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if out.exists():
        shutil.rmtree(folder, ignore_errors=True)


def begin(out: Path, plan: Mapping[str, Any], *, overwrite: bool | None = None) -> tuple[Path, bool]:
    """The folder where ``out`` is made by ``plan``, and whether this run made it. The caller holds ``out``.

    The same plan goes on with what is there; another one begins anew if it is to ``overwrite``, which is None
    where the verb has no such option.

    Raises:
        PlanMismatchError: the folder belongs to another plan; what differs is listed.
        StoreBusyError: another driver is at work there.
        OutputError: something else lies there, or the place cannot be written.
    """
    folder, mine = _folder(out), json.loads(json.dumps(plan, default=str))
    with writing(str(folder)):
        stored = _stored(folder)
        if stored == mine:
            return folder, False
        if stored is not None:
            if not overwrite:
                raise PlanMismatchError(f"{folder}: {_difference(stored, mine)}; {_cure(overwrite)}")
            _refuse_driven(folder)
            shutil.rmtree(folder)
        folder.mkdir(exist_ok=True)
        atomic_write(folder / _PLAN, json.dumps(mine, indent=1))
    return folder, True


def discard(out: Path, plan: Config) -> None:
    """Remove what ``plan`` left beside its finished product ``out``."""
    folder = _folder(out)
    if folder.is_dir() and _stored(folder) in (None, plan.model_dump(mode="json")):
        shutil.rmtree(folder, ignore_errors=True)


def _folder(out: Path) -> Path:
    return out.with_name(out.name + ".partial")


def _ledger(folder: Path, counts: tuple[int, ...]) -> Ledger:
    try:
        return Ledger.open(folder, writable=True)
    except MissingError:
        return Ledger.create(folder, counts, 1)


def _stored(folder: Path) -> dict[str, Any] | None:
    """The plan that the folder belongs to; None where it is empty or not there."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: a file is in the way; move or remove it")
    for name in (_PLAN, _OLDER):
        if not (folder / name).exists():
            continue
        try:
            values = json.loads((folder / name).read_text(encoding="utf-8"))
            return dict(values if name == _PLAN else values["request"])
        except (ValueError, KeyError, TypeError):
            raise OutputError(f"{folder / name}: damaged; remove {folder} to begin anew") from None
    if folder.is_dir() and not all(entry.name.endswith(".partial") for entry in folder.iterdir()):
        raise OutputError(f"{folder}: in the way; move or remove it, or choose another output")
    return None


def _difference(stored: Mapping[str, Any], mine: Mapping[str, Any]) -> str:
    differing = [key for key in {**mine, **stored} if mine.get(key) != stored.get(key)]
    key = differing[0]
    values = f"{key}: {stored.get(key)!r:.60}, now {mine.get(key)!r:.60}"
    return f"was begun with other {', '.join(differing)} ({values})"


def _cure(overwrite: bool | None) -> str:
    if overwrite is None:
        return "use those, or remove the folder"
    return "use those, or add --overwrite to begin anew"


def _refuse_driven(folder: Path) -> None:
    """Drivers of older versions lock the ledgers alone."""
    for lock in (*folder.glob(f"{FOLDER}/lock"), *folder.glob(f"*/{FOLDER}/lock")):
        if OutputLock.held(lock):
            raise StoreBusyError(f"{folder}: another process is writing it; wait for it or stop it")

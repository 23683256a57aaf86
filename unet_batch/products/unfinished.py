"""Unfinished: a product that is being made, in ``OUT.partial`` beside its place: plan, ledger and parts.

Whoever starts the same again goes on there. What is done with the blocks is the product's.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
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
    UnetBatchError,
)
from unet_batch.store.io_errors import writing
from unet_batch.store.journal import Status
from unet_batch.store.ledger import FOLDER, Ledger

_PLAN = "plan.json"


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

    It goes once ``out`` is there. An error before the first block leaves nothing of a new one.

    Raises:
        PlanMismatchError: the folder belongs to another plan.
        StoreBusyError: another driver is at work there.
        OutputError: the place cannot be written.
    """
    folder = _folder(out)
    begun = (folder / _PLAN).exists()
    if begun:
        _require_same(folder, plan)
    else:
        with writing(str(folder)):
            folder.mkdir(exist_ok=True)
            atomic_write(folder / _PLAN, plan.model_dump_json(indent=1))
    ledger = _ledger(folder, counts)
    try:
        with ledger:
            yield Unfinished(folder, ledger)
    except UnetBatchError:
        if not begun and not ledger.totals().last_time:
            shutil.rmtree(folder, ignore_errors=True)
        raise
    if out.exists():
        discard(out)


def discard(out: Path) -> None:
    """Remove what was left of the finished product ``out``."""
    shutil.rmtree(_folder(out), ignore_errors=True)


def _folder(out: Path) -> Path:
    return out.with_name(out.name + ".partial")


def _ledger(folder: Path, counts: tuple[int, ...]) -> Ledger:
    try:
        return Ledger.open(folder, writable=True)
    except MissingError:
        return Ledger.create(folder, counts, 1)


def _require_same(folder: Path, plan: Config) -> None:
    stored: Any = json.loads((folder / _PLAN).read_text(encoding="utf-8"))
    mine = json.loads(plan.model_dump_json())
    differing = [key for key in {**mine, **stored} if mine.get(key) != stored.get(key)]
    if differing:
        key = differing[0]
        raise PlanMismatchError(
            f"{folder}: was begun with other {', '.join(differing)} "
            f"({key}: {stored.get(key)!r:.60}, now {mine.get(key)!r:.60}); use those, or remove the folder"
        )

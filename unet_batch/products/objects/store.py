"""ObjectStore: the number of every pixel's object as OME-Zarr, written by the second pass, block by block."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_batch.engine.progress import Hooks
from unet_batch.engine.run import Run, open_blocks
from unet_batch.errors import DamageError, InputError, MissingError, OutputError
from unet_batch.products.objects.block import WriteWork
from unet_batch.products.objects.plan import ObjectsPlan
from unet_batch.products.unfinished import hash_of
from unet_batch.schedule.events import Executor
from unet_batch.store.group import refuse_occupied
from unet_batch.store.journal import Entry, Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import MasksLayout


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """The store at ``path`` for the objects of ``plan``, there or not yet."""

    path: Path
    plan: ObjectsPlan

    @property
    def begun(self) -> bool:
        """Whether an earlier call with this plan made the store.

        Raises:
            OutputError: something else is there.
        """
        if not (self.path / "zarr.json").exists():
            return False
        if Masks.open(self.path).attributes.get("plan_hash") != hash_of(self.plan):
            raise OutputError(f"{self.path}: exists already; choose another output or remove it")
        return True

    @property
    def finished(self) -> bool:
        """Whether it is whole."""
        return self.begun and bool(Masks.open(self.path).attributes.get("finished"))

    def check(self) -> None:
        """Refuse a place that cannot take the store, before any work."""
        if self.plan.planes > 1:
            raise InputError(
                f"{self.path}: objects of several channels may overlap, but a pixel has one number; "
                "name one class in `classes`"
            )
        if self.begun:
            return
        refuse_occupied(str(self.path))
        in_image = self.path.parent.name == "labels" and self.path.parent.parent.is_dir()
        if not self.path.parent.is_dir() and not in_image:
            raise InputError(f"{self.path}: the folder {self.path.parent} does not exist; create it first")

    def create(self, masks: Masks, attributes: dict[str, Any]) -> None:
        """Make it, with axes, scale and levels of ``masks``, unless it is there."""
        if self.begun:
            return
        given, block = masks.layout, self.plan.block
        layout = MasksLayout(
            kind="instances",
            axes=given.axes,
            shape=given.shape,
            block=block,
            chunk=tuple(min(c, b) for c, b in zip(given.chunk, block, strict=True)),
            dims=given.dims,
            names=self.plan.names,
            pixel_size=given.pixel_size,
            unit=given.unit,
            compression=given.compression,
            levels=given.levels,
            georef=given.georef,
            name="objects",
        )
        Masks.create(self.path, layout, attributes)

    def fill(self, masks: str, numbers: str, blocks: Iterable[int], execute: Executor, hooks: Hooks) -> bool:
        """Write the ``blocks`` that have objects, and the levels; False where that was ended early.

        Raises:
            DamageError: blocks that could not be done.
        """
        path, grid = str(self.path), self.plan.grid
        out = Masks.open(path, writable=True)
        with self._ledger() as ledger:
            out.clean_scratch()
            for number in np.setdiff1d(np.arange(len(grid)), list(blocks)):
                if ledger.status(grid.index(int(number))) is Status.PENDING:
                    ledger.record(Entry(grid.index(int(number)), Status.SKIPPED))
            left = open_blocks(grid, ledger, retry_failed=True)
            Run(path, hooks).blocks(grid, WriteWork(self.plan, masks, path, numbers), ledger, execute, left)
            states = ledger.totals().blocks
            if states[Status.FAILED]:
                raise DamageError(
                    f"{path}: {states[Status.FAILED]} blocks failed, see ledger/failures.log; run again"
                )
            if states[Status.PENDING]:
                return False
            out.finish()
            out.stamp({"finished": True})
        return True

    def _ledger(self) -> Ledger:
        try:
            return Ledger.open(self.path, writable=True)
        except MissingError:
            return Ledger.create(self.path, self.plan.grid.counts, 1)

"""ObjectStore: the number of every pixel's object as OME-Zarr, written by the second pass, block by block."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.engine.passes import BlockPass
from unet_batch.engine.target import LOCK
from unet_batch.errors import InputError
from unet_batch.products.objects.block import WriteWork
from unet_batch.products.objects.plan import ObjectsPlan
from unet_batch.store.group import empty, is_emptying, refuse_foreign, refuse_occupied
from unet_batch.store.ledger import FOLDER
from unet_batch.store.lock import OutputLock
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import MasksLayout


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """The store at ``path`` for the objects of ``plan``, there or not yet."""

    path: Path
    plan: ObjectsPlan

    @property
    def begun(self) -> bool:
        """Whether an earlier call with this plan made the store."""
        if not (self.path / "zarr.json").exists():
            return False
        return bool(Masks.open(self.path).attributes.get("plan_hash") == self.plan.hash)

    @property
    def finished(self) -> bool:
        """Whether it is whole."""
        return self.begun and bool(Masks.open(self.path).attributes.get("finished"))

    def check(self, *, overwrite: bool = False) -> None:
        """Refuse a place that cannot take the store, before any work; ``overwrite`` takes that of objects."""
        if self.plan.planes > 1:
            raise InputError(
                f"{self.path}: objects of several channels may overlap, but a pixel has one number; "
                "name one class in `classes`"
            )
        if overwrite and self._of_objects:
            refuse_foreign(self.path)
            return
        if self.begun:
            return
        refuse_occupied(str(self.path))
        in_image = self.path.parent.name == "labels" and self.path.parent.parent.is_dir()
        if not self.path.parent.is_dir() and not in_image:
            raise InputError(f"{self.path}: the folder {self.path.parent} does not exist; create it first")

    def clear(self) -> None:
        """Remove what is there but for the folder and its lock."""
        if self._of_objects or is_emptying(self.path):
            with OutputLock.inside(self.path / FOLDER):
                empty(self.path, Path("zarr.json"), LOCK)

    @property
    def _of_objects(self) -> bool:
        """Whether numbers of objects are there, whatever their plan."""
        if not (self.path / "zarr.json").exists():
            return False
        masks = Masks.open(self.path)
        return masks.layout.kind == "instances" and "plan_hash" in masks.attributes

    def create(self, masks: Masks, attributes: dict[str, Any]) -> None:
        """Make it, with axes, scale and levels of ``masks``, unless it is there."""
        if self.begun:
            Masks.open(self.path, writable=True).clean_scratch()
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
            colours=tuple(given.colours[number] for number in self.plan.classes if given.colours),
        )
        Masks.create(self.path, layout, attributes)

    def fill(
        self, masks: str, numbers: str, blocks: Collection[int], prepare: Callable[[], None]
    ) -> BlockPass:
        """The pass that writes the blocks that have objects, with its ledger in the store.

        Args:
            masks: path of the masks.
            numbers: folder of the number of each local label, by block.
            blocks: those that have objects; filled by ``prepare``.
            prepare: joins the blocks of the pass before, and creates the store.
        """
        grid = self.plan.grid

        def without_objects() -> NDArray[np.bool_]:
            empty = np.ones(len(grid), np.bool_)
            empty[list(blocks)] = False
            return empty.reshape(grid.counts)

        work = WriteWork(self.plan, masks, str(self.path), numbers)
        return BlockPass(
            self.path,
            grid,
            lambda _: work,
            skipped=without_objects,
            prepare=prepare,
            lost=lambda ledger: Masks.open(self.path).lost_blocks(ledger),
            complete=self._finish,
        )

    def _finish(self) -> None:
        if not self.finished:
            out = Masks.open(self.path, writable=True)
            out.finish()
            out.stamp({"finished": True})

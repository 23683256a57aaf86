"""Masks -> objects: every connected object in a table and, where asked for, in a store of object numbers.

>>> found = objects("masks.zarr", "objects.parquet", ObjectsConfig(workers=0))
>>> found.finished, list(found.objects)
(True, ['b', 'c'])
"""

import platform
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from unet_batch.calls import checked
from unet_batch.engine.job import Ask, run_job
from unet_batch.engine.partial_folder import PartialFolder, drop_leftovers
from unet_batch.engine.parts import Parts
from unet_batch.engine.passes import BlockPass
from unet_batch.engine.progress import Hooks, Reporter
from unet_batch.engine.target import Facts
from unet_batch.engine.worker_pool import Workers, numpy_workers
from unet_batch.errors import OutputError
from unet_batch.products.objects.block import FindWork
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.products.objects.plan import ObjectsPlan, make_plan
from unet_batch.products.objects.store import ObjectStore
from unet_batch.products.objects.summary import Summary
from unet_batch.products.objects.table import Columns, TableWriter, about, bands, channel_names, is_table
from unet_batch.products.objects.unite import unite
from unet_batch.products.outputs import check_name
from unet_batch.products.scale import Scale
from unet_batch.products.sources import level_of, open_beside, open_classes, resample_of, view_of
from unet_batch.store.image import Image
from unet_batch.store.journal import Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.level import View
from unet_batch.store.masks import Masks


@dataclass(frozen=True, slots=True)
class ObjectsResult:
    """What came of a run.

    Attributes:
        table: the file.
        labels: the store of object numbers, if one was asked for.
        objects: how many, by class; empty while ``finished`` is False.
        finished: False where the run was ended early; the same call goes on.
        summary: count, density and median area; None of unfinished and of older tables.
    """

    table: str
    labels: str | None
    objects: dict[str, int]
    finished: bool
    summary: Summary | None = None


@checked
def objects(
    masks: str | Path,
    out: str | Path,
    config: ObjectsConfig | None = None,
    *,
    image: str | Path | None = None,
    labels: str | Path | None = None,
    hooks: Hooks = Hooks(),
) -> ObjectsResult:
    """Find the connected objects of every class of ``masks``, or instances where there is a border class.

    The same call goes on where an earlier one ended, and leaves a finished Parquet table alone unless told to
    overwrite it; CSV does not tell how it was made, and is refused. Objects are numbered in the raster order
    of their first pixels, whatever the blocks.

    Args:
        masks: mask store of classes.
        out: the table, ``.parquet`` or ``.csv``.
        config: which pixels make an object.
        image: image whose mean intensity is measured per object and channel.
        labels: store for the object number of every pixel; ``IMAGE/labels/NAME`` registers it there.
        hooks: to watch the run and to end it early.

    Raises:
        UnetBatchError: input that cannot be used, or a place that cannot be written.
    """
    settings, opened = config or ObjectsConfig(), open_classes(masks)
    beside = None if image is None else open_beside(image, opened)
    plan = make_plan(opened, beside, settings)
    store = None if labels is None else ObjectStore(Path(labels), plan)
    target = ObjectsTable(Path(out), settings.overwrite, Path(out).suffix)
    job = ObjectsJob(opened, beside, target, store, plan, settings)
    check_name(Path(out), (".parquet", ".csv"))
    if not settings.overwrite and (found := job.done_before()) is not None:
        drop_leftovers(job.target)
        Reporter(hooks).notify("nothing to do: the objects are there")
        return found
    job.target.check()
    if store is not None:
        store.check(overwrite=settings.overwrite)
    return run_job(job, hooks)


class ObjectsTable(PartialFolder):
    """The table, which grows in ``OUT.partial``."""

    def check(self) -> None:
        """Refuse a place that is taken; only tables of objects are replaced."""
        PartialFolder.check(self)
        if self.out.exists() and self.published() is None and not is_table(self.out):
            raise OutputError(
                f"{self.out}: is no table of objects and is not replaced; choose another output"
            )


@dataclass(slots=True)
class ObjectsJob:
    """The objects of one mask store: found block by block, joined, and numbered pixel by pixel if asked.

    Attributes:
        fragments: fragments of each block that has some, by its number, once they are all found.
        counts: objects by class, once they are joined.
        summary: of them, likewise.
    """

    masks: Masks
    image: Image | None
    target: ObjectsTable
    store: ObjectStore | None
    objects_plan: ObjectsPlan
    config: ObjectsConfig
    retry_failed: bool = True
    fragments: dict[int, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    summary: Summary | None = None

    def done_before(self) -> ObjectsResult | None:
        """What an earlier call made, if it is all there."""
        out = self.target.out
        said = about(out) if out.is_file() else {}
        stored = self.store is None or self.store.finished
        if said.get("plan_hash") != self.objects_plan.hash or not stored:
            return None
        return self.result(said)

    def plan(self, stored: Mapping[str, Any] | None, ask: Ask) -> ObjectsPlan:
        """What the masks and settings make."""
        del stored, ask
        return self.objects_plan

    def create(self, plan: ObjectsPlan) -> None:
        """Joining makes all; an older store of objects goes where that was asked for."""
        del plan
        if self.store is not None and self.config.overwrite:
            self.store.clear()

    def workers(self, pixels: int) -> Workers:
        """A process per core, where there is enough to do."""
        return numpy_workers(self.config, pixels)

    def passes(self, plan: ObjectsPlan) -> list[BlockPass]:
        """Fragments are found in all blocks; then, where asked for, the numbers of objects are written."""
        found = self.image
        image, level, view = (None, 0, View()) if found is None else (found.path, found.level, found.view)
        work = FindWork(plan, self.masks.path, image, level, view, self._found.folder)
        lost = partial(self._found.lost, plan.grid)
        find = BlockPass(self.target.folder, plan.grid, lambda _: work, lost=lost)
        if self.store is None:
            return [find]
        return [find, self.store.fill(self.masks.path, self._numbers.folder, self.fragments, self._join)]

    def finish(self, plan: ObjectsPlan, reporter: Reporter) -> Facts:
        """The table, unless it was written for the second pass."""
        del plan
        if self.store is None:
            reporter.notify("joining the blocks")
            self._join()
        return {"objects": self.counts, "summary": None if self.summary is None else asdict(self.summary)}

    def result(self, facts: Facts | None) -> ObjectsResult:
        """What came of the run."""
        labels = None if self.store is None else str(self.store.path)
        said = facts or {}
        summary = Summary(**said["summary"]) if said.get("summary") else None
        counts = said.get("objects", {})
        return ObjectsResult(str(self.target.out), labels, counts, facts is not None, summary)

    @property
    def _found(self) -> Parts:
        return Parts(str(self.target.folder / "found"))

    @property
    def _numbers(self) -> Parts:
        return Parts(str(self.target.folder / "numbers"))

    def _join(self) -> None:
        """Write the table and, for the second pass, the number of each block's labels; make its store."""
        plan, image = self.objects_plan, self.image
        self.fragments.update(self._blocks())
        union = unite(plan, self._found, self.fragments)
        channels = () if image is None else channel_names(image.channel_names, image.channels)
        columns = Columns(plan, Scale.of(self.masks), self.masks.georef, channels)
        with TableWriter(self.target.content, columns, self._about()) as writer:
            for band in bands(plan, self._found, list(self.fragments), union):
                writer.add(band.objects, band.begin)
                for number, ids in band.ids.items() if self.store is not None else ():
                    self._numbers.write(number, {"ids": ids})
            self.summary = Summary.of(self.masks, plan.dims, writer.sizes)
            writer.about["summary"] = asdict(self.summary)
        self.counts.update(writer.counts)
        if self.store is not None:
            self.store.create(self.masks, self._about())

    def _blocks(self) -> dict[int, int]:
        """Fragments of each block that has some, by its number, in raster order."""
        ledger, grid = Ledger.open(self.target.folder), self.objects_plan.grid
        done = ledger.with_status(Status.DONE)
        numbers = map(int, grid.numbers(done))
        return {number: ledger.entry(grid.index(number)).counts[0] for number in numbers}

    def _about(self) -> dict[str, Any]:
        return {
            "plan": self.objects_plan.model_dump(mode="json"),
            "plan_hash": self.objects_plan.hash,
            "provenance": {
                "masks": str(Path(self.masks.path).resolve()),
                "table": str(self.target.out.resolve()),
                "level": level_of(self.masks),
                "resample": resample_of(self.masks),
                "series": view_of(self.masks).series,
                "stored_axes": view_of(self.masks).axes,
                "image": None if self.image is None else str(Path(self.image.path).resolve()),
                "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "host": socket.gethostname(),
                "machine": platform.platform(),
            },
        }

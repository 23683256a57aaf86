"""Masks -> objects: every connected object in a table and, where asked for, in a store of object numbers."""

import platform
import socket
import time
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from unet_batch.engine.progress import Hooks
from unet_batch.engine.run import Run, open_blocks
from unet_batch.engine.worker_pool import WorkerPool
from unet_batch.products.crew import crew
from unet_batch.products.objects.block import FindWork
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.products.objects.number import bands
from unet_batch.products.objects.plan import ObjectsPlan, make_plan
from unet_batch.products.objects.store import ObjectStore
from unet_batch.products.objects.table import Columns, TableWriter, about, channel_names
from unet_batch.products.objects.unite import unite
from unet_batch.products.scale import Scale
from unet_batch.products.sources import open_beside, open_classes
from unet_batch.products.unfinished import Unfinished, check_output, discard, hash_of, unfinished
from unet_batch.store.image import Image
from unet_batch.store.journal import Status
from unet_batch.store.masks import Masks
from unet_batch.store.output import Output


@dataclass(frozen=True, slots=True)
class Objects:
    """What came of a run.

    Attributes:
        table: the Parquet file.
        labels: the store of object numbers, if one was asked for.
        objects: how many, by class; empty while ``finished`` is False.
        finished: False where the run was ended early; the same call goes on.
    """

    table: str
    labels: str | None
    objects: dict[str, int]
    finished: bool


def objects(
    masks: str | Path,
    out: str | Path,
    config: ObjectsConfig | None = None,
    *,
    image: str | Path | None = None,
    labels: str | Path | None = None,
    hooks: Hooks = Hooks(),
) -> Objects:
    """Find the connected objects of every class of ``masks``, or instances where there is a border class.

    The same call goes on where an earlier one ended, and leaves a finished table alone. Objects are numbered
    in the raster order of their first pixels, whatever the blocks.

    Args:
        masks: mask store of classes.
        out: the table, ``.parquet``.
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
    job = _Job(opened, beside, Path(out), None if labels is None else ObjectStore(Path(labels), plan), plan)
    if job.done_before() is None:
        job.check_outputs()
    with Output.held(job.out) as output:
        if (found := job.done_before()) is not None:
            discard(job.out, plan)  # a kill may have left it
            Run(str(out), hooks).tell("nothing to do: the objects are there")
            return found
        job.check_outputs()
        with unfinished(job.out, plan, plan.grid.counts) as work, crew(settings, prod(plan.shape)) as workers:
            return job.run(work, output, workers, hooks)


@dataclass(frozen=True, slots=True)
class _Job:
    """One driver at work on one table."""

    masks: Masks
    image: Image | None
    out: Path
    store: ObjectStore | None
    plan: ObjectsPlan

    def done_before(self) -> Objects | None:
        """What an earlier call made, if it is all there."""
        said = about(self.out) if self.out.is_file() else {}
        if said.get("plan_hash") != hash_of(self.plan) or (
            self.store is not None and not self.store.finished
        ):
            return None
        return self._result(said["objects"])

    def check_outputs(self) -> None:
        """Refuse what is in the way before any work."""
        check_output(self.out, (".parquet",))
        if self.store is not None:
            self.store.check()

    def run(self, work: Unfinished, output: Output, workers: WorkerPool, hooks: Hooks) -> Objects:
        """Find, join, write."""
        run = Run(str(work.folder), hooks)
        left = open_blocks(self.plan.grid, work.ledger, retry_failed=True)
        run.blocks(self.plan.grid, self._find(work), work.ledger, workers.execute, left)
        if not work.whole:
            return self._result({}, finished=False)
        run.tell("joining the blocks")
        table, blocks = work.folder / "table.parquet", self._blocks(work)
        counts = self._join(work, table, blocks)
        if self.store is not None:
            run.tell("writing the numbers of the objects")
            self.store.create(self.masks, self._about())
            numbers = work.parts("numbers").folder
            if not self.store.fill(self.masks.path, numbers, blocks, workers.execute, hooks):
                return self._result({}, finished=False)
        output.publish(table)
        return self._result(counts)

    def _find(self, work: Unfinished) -> FindWork:
        image, level = (None, 0) if self.image is None else (self.image.path, self.image.level)
        return FindWork(self.plan, self.masks.path, image, level, work.parts("found").folder)

    def _blocks(self, work: Unfinished) -> dict[int, int]:
        """Fragments of each block that has some, by its number, in raster order."""
        indices = [tuple(map(int, index)) for index in work.ledger.with_status(Status.DONE)]
        counts = self.plan.grid.counts
        return {int(np.ravel_multi_index(i, counts)): work.ledger.entry(i).counts[0] for i in indices}

    def _join(self, work: Unfinished, table: Path, blocks: dict[int, int]) -> dict[str, int]:
        """Write the table, and the object number of each block's labels."""
        found, numbers = work.parts("found"), work.parts("numbers")
        union = unite(self.plan, found, blocks)
        image = self.image
        channels = () if image is None else channel_names(image.channel_names, image.channels)
        columns = Columns(self.plan, Scale.of(self.masks), self.masks.georef, channels)
        with TableWriter(table, columns, self._about()) as writer:
            for band in bands(self.plan, found, list(blocks), union):
                writer.add(band.objects, band.begin)
                for number, ids in band.ids.items() if self.store is not None else ():
                    numbers.write(number, {"ids": ids})
        return writer.counts

    def _about(self) -> dict[str, Any]:
        return {
            "plan": self.plan.model_dump(mode="json"),
            "plan_hash": hash_of(self.plan),
            "provenance": {
                "masks": str(Path(self.masks.path).resolve()),
                "table": str(self.out.resolve()),
                "image": None if self.image is None else str(Path(self.image.path).resolve()),
                "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "host": socket.gethostname(),
                "machine": platform.platform(),
            },
        }

    def _result(self, counts: dict[str, int], *, finished: bool = True) -> Objects:
        labels = None if self.store is None else str(self.store.path)
        return Objects(str(self.out), labels, counts, finished)

"""Scenes -> one image: the whole story of a mosaic, new or resumed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.calls import checked
from unet_batch.config import Config
from unet_batch.engine.job import Ask, run_job
from unet_batch.engine.passes import BlockPass
from unet_batch.engine.plans import as_json
from unet_batch.engine.progress import Hooks, Progress, Reporter
from unet_batch.engine.target import Facts, InPlaceStore, sweep
from unet_batch.engine.worker_pool import Workers, numpy_workers
from unet_batch.errors import InputError
from unet_batch.ingestion.layout import COUNT
from unet_batch.ingestion.mosaic.block import MosaicWork
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.index import blocks_with_scenes
from unet_batch.ingestion.mosaic.listing import list_scenes
from unet_batch.ingestion.mosaic.plan import FILE as PLAN_FILE
from unet_batch.ingestion.mosaic.plan import MosaicPlan
from unet_batch.ingestion.mosaic.planning import Planned, make_plan
from unet_batch.schedule.events import Event
from unet_batch.store.creation import remove
from unet_batch.store.georef import GeoReference
from unet_batch.store.group import is_emptying, refuse_occupied
from unet_batch.store.image_writer import ImageWriter, lost_of
from unet_batch.store.io_errors import is_local, writing
from unet_batch.store.ledger import FOLDER, Ledger

DAMAGED = Path(FOLDER) / "damaged.log"
_MOST_WORKERS = 8
_NOTIFY_EVERY = 500


@dataclass(frozen=True, slots=True)
class MosaicResult:
    """Where a mosaic stands after a run. ``blocks`` by what became of them; ``pixels`` have data.

    ``damaged`` are scenes that blocks were made without, as asked; ``notes`` say how scenes were understood.
    """

    output: str
    scenes: int
    axes: str
    shape: tuple[int, ...]
    channels: int
    dtype: str
    georef: GeoReference | None
    nodata: float | None
    blocks: dict[str, int]
    pixels: int
    seconds: float
    damaged: tuple[str, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return asdict(self)


@checked
def ingest_mosaic(
    scenes: Sequence[str | Path],
    out: str | Path,
    config: MosaicConfig | None = None,
    *,
    index: str | Path | None = None,
    retry_failed: bool = False,
    hooks: Hooks = Hooks(),
) -> MosaicResult:
    """Merge ``scenes`` into the OME-Zarr image ``out``; run again to resume.

    Scenes on the mosaic's grid are copied bit for bit, others are warped onto it.

    Args:
        scenes: rasters or fields of a stage scan; a folder stands for the TIFFs in it.
        out: the image; readers find it there once all blocks are done.
        config: settings.
        index: a CSV, GeoJSON or GDAL tile index that lists more scenes.
        retry_failed: try blocks again that were set aside.
        hooks: to watch the run and to end it early.

    Raises:
        UnetBatchError: scenes or settings that cannot be used, or a store of another mosaic or driver.
    """
    began, config = time.perf_counter(), config or MosaicConfig()
    store = MosaicStore(str(out), config.overwrite)
    store.check()
    listed = list_scenes(scenes, index, remote=config.remote)
    reporter = Reporter(hooks)
    planned = make_plan(listed, config, lambda done, total: _notify_some(reporter, done, total))
    job = MosaicJob(planned, store, config, retry_failed)
    return replace(run_job(job, _hooks(hooks, str(out))), seconds=time.perf_counter() - began)


class MosaicStore(InPlaceStore):
    """A mosaic, whose plan is beside its ledger; it is an image for readers once it is finished."""

    plan_file = PLAN_FILE

    def check(self) -> None:
        """Refuse a place that holds something else than a mosaic."""
        if not is_local(self.path):
            raise InputError(
                f"{self.path}: a mosaic is written to a local or shared file system; give a path"
            )
        if not self.folder.absolute().parent.is_dir():
            raise InputError(f"{self.path}: the folder {self.folder.parent} does not exist; create it first")
        if not (self.folder / PLAN_FILE).is_file() and not is_emptying(self.folder):
            refuse_occupied(self.path)

    def stored_plan(self) -> dict[str, Any] | None:
        """The plan that the mosaic was begun with."""
        stored = MosaicPlan.read_from(self.path)
        return None if stored is None else as_json(stored)

    def keep(self, plan: Config) -> None:
        """Write the plan, which workers read."""
        assert isinstance(plan, MosaicPlan), "a mosaic has no other plan"
        plan.write(self.path)

    def reopen(self) -> None:
        """Remove what killed writers left."""
        sweep(self.folder)
        stored = MosaicPlan.read_from(self.path)
        for writer in [] if stored is None else self.writers(stored):
            writer.clean_scratch()

    def discard(self) -> None:
        """Remove the store."""
        remove(self.folder)

    def finished(self) -> bool:
        """Whether it is an image."""
        return (self.folder / "zarr.json").exists()

    def publish(self, facts: Facts) -> None:
        """Nothing: finishing has written the metadata that makes it an image."""

    def writers(self, plan: MosaicPlan) -> list[ImageWriter]:
        """The image, and the count where there is one."""
        image = ImageWriter.open(self.path, plan.image_layout)
        if not plan.count:
            return [image]
        return [image, ImageWriter.open(f"{self.path}/{COUNT}", plan.count_layout)]


@dataclass(frozen=True, slots=True)
class MosaicJob:
    """Scenes merged into one image, new or resumed."""

    planned: Planned
    target: MosaicStore
    config: MosaicConfig
    retry_failed: bool

    def plan(self, stored: Mapping[str, Any] | None, ask: Ask) -> MosaicPlan:
        """The plan that the scenes and settings make."""
        del stored, ask
        return self.planned.plan

    def create(self, plan: MosaicPlan) -> None:
        """The arrays."""
        ImageWriter.create(self.target.path, plan.image_layout)
        if plan.count:
            ImageWriter.create(f"{self.target.path}/{COUNT}", plan.count_layout)

    def workers(self, pixels: int) -> Workers:
        """A process per core, not too many: each holds scenes."""
        return numpy_workers(self.config, pixels, _MOST_WORKERS)

    def passes(self, plan: MosaicPlan) -> list[BlockPass]:
        """One pass over the blocks that have scenes."""
        work, empty = MosaicWork(self.target.path), partial(_without_scenes, plan)
        lost = partial(lost_of, self.target.writers(plan), plan.grid)
        return [BlockPass(self.target.folder, plan.grid, lambda _: work, skipped=empty, lost=lost)]

    def finish(self, plan: MosaicPlan, reporter: Reporter) -> Facts:
        """Coarse levels, and the metadata that makes it an image."""
        reporter.notify("writing the coarse levels")
        for writer in reversed(self.target.writers(plan)):
            writer.finish()
        return {}

    def result(self, facts: Facts | None) -> MosaicResult:
        """Where the store stands."""
        del facts
        out, plan = self.target.path, self.planned.plan
        totals = Ledger.open(out).totals()
        return MosaicResult(
            output=out,
            scenes=len(plan.scenes),
            axes=plan.axes,
            shape=plan.shape,
            channels=len(plan.bands),
            dtype=plan.dtype,
            georef=plan.georef,
            nodata=plan.nodata,
            blocks={status.name.lower(): count for status, count in totals.blocks.items()},
            pixels=totals.pixels,
            seconds=0.0,
            damaged=_damaged(out),
            notes=self.planned.notes,
        )


def _without_scenes(plan: MosaicPlan) -> NDArray[np.bool_]:
    return ~blocks_with_scenes(plan)


def _hooks(hooks: Hooks, out: str) -> Hooks:
    """``hooks`` that also keep a line for every block that was made without a damaged scene."""

    def observe(event: Event | None, progress: Progress) -> None:
        if event is not None and event.error and event.status != "failed":
            path = Path(out) / DAMAGED
            with writing(str(path)), path.open("a", encoding="utf-8") as log:
                log.write(f"block {event.number}: {event.error}\n")
        hooks.observe(event, progress)

    return Hooks(observe, hooks.stop)


def _damaged(out: str) -> tuple[str, ...]:
    """Each scene's first complaint, once."""
    try:
        lines = (Path(out) / DAMAGED).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return ()
    found = dict.fromkeys(fault for line in lines for fault in line.partition(": ")[2].split("; "))
    return tuple(found)


def _notify_some(reporter: Reporter, done: int, total: int) -> None:
    if total > _NOTIFY_EVERY and (done % _NOTIFY_EVERY == 0 or done == total):
        reporter.notify(f"opened {done} of {total} scenes")

"""Scenes -> one image: the whole story of a mosaic, new or resumed."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unet_batch.engine.progress import Hooks, Progress
from unet_batch.engine.run import Run, open_blocks
from unet_batch.engine.worker_pool import WorkerPool, worker_pool
from unet_batch.errors import InputError, MissingError, PlanMismatchError, UnetBatchError
from unet_batch.ingestion.layout import COUNT
from unet_batch.ingestion.mosaic.block import MosaicWork
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.index import blocks_with_scenes
from unet_batch.ingestion.mosaic.listing import list_scenes
from unet_batch.ingestion.mosaic.plan import MosaicPlan
from unet_batch.ingestion.mosaic.planning import Planned, make_plan
from unet_batch.schedule.events import Event
from unet_batch.store.creation import Creation
from unet_batch.store.georef import GeoReference
from unet_batch.store.image_writer import ImageWriter
from unet_batch.store.io_errors import is_local, writing
from unet_batch.store.journal import Status
from unet_batch.store.ledger import FOLDER, Ledger
from unet_batch.store.lock import OutputLock

DAMAGED = Path(FOLDER) / "damaged.log"
_FEW_BLOCKS, _MOST_WORKERS = 4, 8
_TELL_EVERY = 500


@dataclass(frozen=True, slots=True)
class MosaicSummary:
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
        """The summary as plain values."""
        return asdict(self)


def ingest_mosaic(
    scenes: Sequence[str | Path],
    out: str | Path,
    config: MosaicConfig | None = None,
    *,
    index: str | Path | None = None,
    retry_failed: bool = False,
    hooks: Hooks = Hooks(),
) -> MosaicSummary:
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
    _check_output(Path(out))
    listed = list_scenes(scenes, index)
    run = Run(str(out), hooks)
    planned = make_plan(listed, config, lambda done, total: _tell_some(run, done, total))
    mosaic = _Mosaic(planned, str(out), config, _hooks(hooks, str(out)))
    stored = MosaicPlan.read_from(str(out))
    if stored is None:
        mosaic.begin()
    else:
        mosaic.resume(stored, retry_failed=retry_failed)
    return mosaic.summary(time.perf_counter() - began)


class _Mosaic:
    """One driver at work on one store."""

    def __init__(self, planned: Planned, out: str, config: MosaicConfig, hooks: Hooks) -> None:
        self.plan, self.notes = planned.plan, planned.notes
        self.out, self.config = out, config
        self.run = Run(out, hooks)

    def begin(self) -> None:
        """A store that is not there yet."""
        with Creation.begin(self.out) as creation:
            try:
                ImageWriter.create(self.out, self.plan.image_layout)
                if self.plan.count:
                    ImageWriter.create(f"{self.out}/{COUNT}", self.plan.count_layout)
                self.plan.write(self.out)
                with self._new_ledger(creation.lock) as ledger:
                    self._compute(ledger, retry_failed=False)
            except UnetBatchError:
                if not self.run.record.blocks:  # nothing to resume
                    creation.discard()
                raise

    def resume(self, stored: MosaicPlan, *, retry_failed: bool) -> None:
        """A store that an earlier run began; refused where the plan differs."""
        if self.plan.hash != stored.hash:
            differing = ", ".join(self.plan.differences(stored)) or "version"
            raise PlanMismatchError(
                f"{self.out}: belongs to another mosaic (what differs: {differing}); use its scenes and "
                "settings, or write to another store"
            )
        with self._ledger() as ledger:
            for writer in self._writers():
                writer.layer.clean_scratch()
            self._compute(ledger, retry_failed=retry_failed)

    def summary(self, seconds: float) -> MosaicSummary:
        """Where the store stands."""
        totals, plan = Ledger.open(self.out).totals(), self.plan
        return MosaicSummary(
            output=self.out,
            scenes=len(plan.scenes),
            axes=plan.axes,
            shape=plan.shape,
            channels=len(plan.bands),
            dtype=plan.dtype,
            georef=plan.georef,
            nodata=plan.nodata,
            blocks={status.name.lower(): count for status, count in totals.blocks.items()},
            pixels=totals.pixels,
            seconds=seconds,
            damaged=_damaged(self.out),
            notes=self.notes,
        )

    def _compute(self, ledger: Ledger, *, retry_failed: bool) -> None:
        todo = open_blocks(self.plan.grid, ledger, retry_failed=retry_failed)
        if todo.size:
            with self._crew(len(todo)) as crew:
                self.run.blocks(self.plan.grid, MosaicWork(self.out), ledger, crew.execute, todo)
        self._end(ledger)

    def _end(self, ledger: Ledger) -> None:
        """Coarse levels and the metadata that makes it an image, once no block is left."""
        if ledger.totals().blocks[Status.PENDING]:
            return
        if not self.run.record.blocks and (Path(self.out) / "zarr.json").exists():
            self.run.tell("nothing to do: every block is in the store")
            return
        self.run.tell("writing the coarse levels")
        for writer in reversed(self._writers()):
            writer.finish()

    def _writers(self) -> list[ImageWriter]:
        image = ImageWriter.open(self.out, self.plan.image_layout)
        if not self.plan.count:
            return [image]
        return [image, ImageWriter.open(f"{self.out}/{COUNT}", self.plan.count_layout)]

    @contextmanager
    def _crew(self, blocks: int) -> Iterator[WorkerPool]:
        count = self.config.workers
        if count == "auto":
            cores = min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
            count = 0 if blocks <= _FEW_BLOCKS else cores
        threads = 1 if self.config.threads == "auto" else self.config.threads
        with worker_pool(self.config, count, threads) as crew:
            if crew.dashboard is not None:
                self.run.tell(f"dashboard: {crew.dashboard}")
            yield crew

    def _new_ledger(self, lock: OutputLock | None = None) -> Ledger:
        ledger = Ledger.create(self.out, self.plan.grid.counts, 1, lock=lock)
        ledger.record_all(~blocks_with_scenes(self.plan), Status.SKIPPED)
        return ledger

    def _ledger(self) -> Ledger:
        try:
            return Ledger.open(self.out, writable=True)
        except MissingError:  # killed between the creation of the store and that of its ledger
            return self._new_ledger()


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
        lines = (Path(out) / DAMAGED).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return ()
    found = dict.fromkeys(fault for line in lines for fault in line.partition(": ")[2].split("; "))
    return tuple(found)


def _tell_some(run: Run, done: int, total: int) -> None:
    if total > _TELL_EVERY and (done % _TELL_EVERY == 0 or done == total):
        run.tell(f"opened {done} of {total} scenes")


def _check_output(out: Path) -> None:
    if not is_local(str(out)):
        raise InputError(f"{out}: a mosaic is written to a local or shared file system; give a path")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist; create it first")

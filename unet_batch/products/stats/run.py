"""Masks -> statistics: areas per class, whole or per zone, and how they agree with a reference.

>>> found = stats("masks.zarr", "areas.csv", StatsConfig(workers=0))
>>> sum(row["pixels"] for row in found.rows) == 150 * 201
True
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unet_batch.calls import checked
from unet_batch.engine.job import Ask, run_job
from unet_batch.engine.partial_folder import PartialFolder
from unet_batch.engine.parts import Parts
from unet_batch.engine.passes import BlockPass
from unet_batch.engine.progress import Hooks, Reporter
from unet_batch.engine.target import Facts
from unet_batch.engine.worker_pool import Workers, numpy_workers
from unet_batch.errors import InputError, MissingError, OutputError
from unet_batch.products.evaluate import open_truth
from unet_batch.products.outputs import check_name
from unet_batch.products.scale import Scale
from unet_batch.products.sources import open_classes
from unet_batch.products.stats.block import CountWork
from unet_batch.products.stats.config import StatsConfig
from unet_batch.products.stats.plan import StatsPlan
from unet_batch.products.stats.table import Counted, Row, is_table, rows, write
from unet_batch.store.image import Image
from unet_batch.store.journal import Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.lock import OutputLock
from unet_batch.store.masks import Masks

SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class StatsResult:
    """What came of a run: the file, its rows, and whether it was ended early (the same call goes on)."""

    path: str
    rows: list[Row]
    finished: bool


@checked
def stats(
    masks: str | Path,
    out: str | Path,
    config: StatsConfig | None = None,
    *,
    zones: str | Path | None = None,
    reference: str | Path | None = None,
    hooks: Hooks = Hooks(),
) -> StatsResult:
    """Areas of the classes of ``masks`` in true units, as a table.

    The same call goes on where an earlier one ended. Without zones and reference the counts that the
    prediction left in the ledger are taken, and no pixel is read.

    Args:
        masks: mask store of classes.
        out: the table, ``.csv`` or ``.parquet``.
        config: level, zones' layer and attribute, and who does the blocks.
        zones: polygons, any vector file; on the earth where the masks are, else in pixels (x right, y down).
        reference: Zarr of true labels of the masks' shape.
        hooks: to watch the run and to end it early.

    Raises:
        UnetBatchError: input that cannot be used, or a place that cannot be written.
    """
    settings, opened, path = config or StatsConfig(), open_classes(masks), Path(out)
    plan = _plan(opened, settings, zones, reference)
    check_name(path, (".csv", ".parquet"))
    target = StatsTable(path, settings.overwrite, path.suffix)
    target.check()
    counted = None if zones or reference else _from_ledger(opened, plan)
    if counted is not None:
        found = _rows(opened, plan, counted)
        with OutputLock.beside(path):
            target.check()
            write(path, found)
        return StatsResult(str(path), found, finished=True)
    work = CountWork(plan, str(masks), _text(reference), _text(zones), str(target.folder / "found"))
    _ = work.tools  # zones and references that cannot be used are refused before anything is made
    return run_job(StatsJob(opened, target, plan, settings, work), hooks)


class StatsTable(PartialFolder):
    """The table, which grows in ``OUT.partial``."""

    def check(self) -> None:
        """Refuse a place that is taken; only tables of statistics are replaced."""
        PartialFolder.check(self)
        if self.out.exists() and self.published() is None and not is_table(self.out):
            raise OutputError(
                f"{self.out}: is no table of statistics and is not replaced; choose another output"
            )


@dataclass(frozen=True, slots=True)
class StatsJob:
    """The statistics of one mask store, counted block by block; ``work`` counts one."""

    masks: Masks
    target: StatsTable
    stats_plan: StatsPlan
    config: StatsConfig
    work: CountWork
    retry_failed: bool = True

    def plan(self, stored: Mapping[str, Any] | None, ask: Ask) -> StatsPlan:
        """What the masks, zones and reference make."""
        del stored, ask
        return self.stats_plan

    def create(self, plan: StatsPlan) -> None:
        """Nothing: finishing writes the table."""

    def workers(self, pixels: int) -> Workers:
        """A process per core, where there is enough to do."""
        return numpy_workers(self.config, pixels)

    def passes(self, plan: StatsPlan) -> list[BlockPass]:
        """One pass."""
        lost = partial(Parts(self.work.parts).lost, plan.grid)
        return [BlockPass(self.target.folder, plan.grid, lambda _: self.work, lost=lost)]

    def finish(self, plan: StatsPlan, reporter: Reporter) -> Facts:
        """The table of all blocks together."""
        del reporter
        polygons = self.work.tools.zones
        counted = self._summed(plan, None if polygons is None else polygons.names)
        found = _rows(self.masks, plan, counted)
        write(self.target.content, found)
        return {"rows": found}

    def result(self, facts: Facts | None) -> StatsResult:
        """What came of the run."""
        found = [] if facts is None else facts["rows"]
        return StatsResult(str(self.target.out), found, finished=facts is not None)

    def _summed(self, plan: StatsPlan, names: tuple[str, ...] | None) -> Counted:
        """All blocks together, in their order, so that sums of sizes do not depend on who did them."""
        shape = (1 if names is None else len(names), plan.planes, *plan.matrix)
        counts, sizes, parts = np.zeros(shape, np.int64), np.zeros(shape), Parts(self.work.parts)
        for index in Ledger.open(self.target.folder).with_status(Status.DONE):
            part = parts.read(plan.grid.number(index))
            counts[part["zones"]] += part["counts"]
            sizes[part["zones"]] += part["sizes"]
        return Counted(names, counts, sizes)


def _plan(
    masks: Masks, config: StatsConfig, zones: str | Path | None, reference: str | Path | None
) -> StatsPlan:
    image, layout = Image.open(masks.path).at_level(config.level), masks.layout
    truth = None if reference is None else open_truth(masks, reference).identity()
    if truth is not None and config.level:
        raise InputError(f"`level`: a reference is compared at level 0, not {config.level}; leave it out")
    return StatsPlan(
        masks=image.identity(),
        level=config.level,
        shape=image.shape,
        block=layout.block,
        names=layout.names,
        multilabel=layout.kind == "multilabel",
        zones=None if zones is None else _content(Path(zones)),
        layer=config.layer,
        zone=config.zone,
        reference=truth,
        ignore=int(layout.fill) if config.ignore is None else config.ignore,
    )


def _from_ledger(masks: Masks, plan: StatsPlan) -> Counted | None:
    """What the prediction counted, where it tells all that is asked for."""
    scale = Scale.of(masks)
    if plan.level or plan.multilabel or scale.ellipsoid is not None:
        return None
    try:
        totals = Ledger.open(masks.path).totals()
    except MissingError:
        return None
    if len(totals.class_counts) != len(plan.names):
        return None
    counts = np.array([*totals.class_counts, 0], np.int64).reshape(1, 1, *plan.matrix)
    size = scale.measures(np.zeros(1), masks.layout.dims)[0]
    return Counted(None, counts, counts * size)


def _rows(masks: Masks, plan: StatsPlan, counted: Counted) -> list[Row]:
    dims = masks.layout.dims
    return rows(plan, counted, dims, Scale.of(masks).unit_of(dims))


def _content(path: Path) -> str:
    if not path.is_file():
        raise MissingError(f"{path}: no such file; check the path of the zones")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)

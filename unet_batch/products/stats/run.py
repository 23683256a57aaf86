"""Masks -> statistics: areas per class, whole or per zone, and how they agree with a reference."""

import hashlib
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

import numpy as np

from unet_batch.engine.progress import Hooks
from unet_batch.engine.run import Run, open_blocks
from unet_batch.errors import InputError, MissingError
from unet_batch.products.crew import crew
from unet_batch.products.evaluate import open_truth
from unet_batch.products.scale import Scale
from unet_batch.products.sources import open_classes
from unet_batch.products.stats.block import CountWork
from unet_batch.products.stats.config import StatsConfig
from unet_batch.products.stats.plan import StatsPlan
from unet_batch.products.stats.table import Counted, Row, rows, write
from unet_batch.products.unfinished import Unfinished, check_output, unfinished
from unet_batch.store.image import Image
from unet_batch.store.journal import Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks import Masks
from unet_batch.store.output import Output

SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True, slots=True)
class Stats:
    """What came of a run: the file, its rows, and whether it was ended early (the same call goes on)."""

    path: str
    rows: list[Row]
    finished: bool


def stats(
    masks: str | Path,
    out: str | Path,
    config: StatsConfig | None = None,
    *,
    zones: str | Path | None = None,
    reference: str | Path | None = None,
    hooks: Hooks = Hooks(),
) -> Stats:
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
    check_output(path, SUFFIXES)
    counted = None if zones or reference else _from_ledger(opened, plan)
    with Output.held(path) as output:
        check_output(path, SUFFIXES)
        if counted is not None:
            return _written(opened, plan, output, counted)
        work = CountWork(plan, str(masks), _text(reference), _text(zones), "")
        return _by_blocks(opened, settings, work, output, hooks)


def _by_blocks(masks: Masks, settings: StatsConfig, work: CountWork, output: Output, hooks: Hooks) -> Stats:
    plan, polygons, path = work.plan, work.tools.zones, output.path
    with unfinished(path, plan, plan.grid.counts) as job, crew(settings, prod(plan.shape)) as workers:
        work = replace(work, parts=job.parts("found").folder)
        left = open_blocks(plan.grid, job.ledger, retry_failed=True)
        Run(str(job.folder), hooks).blocks(plan.grid, work, job.ledger, workers.execute, left)
        if not job.whole:
            return Stats(str(path), [], finished=False)
        counted = _summed(plan, job, None if polygons is None else polygons.names)
        return _written(masks, plan, output, counted)


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


def _summed(plan: StatsPlan, job: Unfinished, names: tuple[str, ...] | None) -> Counted:
    """All blocks together, in their order, so that sums of sizes do not depend on who did them."""
    shape = (1 if names is None else len(names), plan.planes, *plan.matrix)
    counts, sizes, parts = np.zeros(shape, np.int64), np.zeros(shape), job.parts("found")
    for index in job.ledger.with_status(Status.DONE):
        part = parts.read(int(np.ravel_multi_index(tuple(index), plan.grid.counts)))
        counts[part["zones"]] += part["counts"]
        sizes[part["zones"]] += part["sizes"]
    return Counted(names, counts, sizes)


def _written(masks: Masks, plan: StatsPlan, output: Output, counted: Counted) -> Stats:
    dims = masks.layout.dims
    found = rows(plan, counted, dims, Scale.of(masks).unit_of(dims))
    output.require_unchanged()
    write(output.path, found)
    return Stats(str(output.path), found, finished=True)


def _content(path: Path) -> str:
    if not path.is_file():
        raise MissingError(f"{path}: no such file; check the path of the zones")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _text(path: str | Path | None) -> str | None:
    return None if path is None else str(path)

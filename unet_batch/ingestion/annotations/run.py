"""`ingest_annotations`: drawn annotations become labels on the grid of an image, block by block."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.job import Ask, run_job
from unet_batch.engine.passes import BlockPass
from unet_batch.engine.progress import Hooks, Reporter
from unet_batch.engine.stopwatch import Stopwatch
from unet_batch.engine.target import Facts
from unet_batch.engine.worker_pool import Workers
from unet_batch.extras import require
from unet_batch.ingestion.annotations.config import AnnotationsConfig
from unet_batch.ingestion.annotations.naming import Naming
from unet_batch.ingestion.annotations.paint import Painter
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.layout import Blocking
from unet_batch.ingestion.plan import IngestPlan, make_plan, threads
from unet_batch.ingestion.store_folder import StoreFolder, named
from unet_batch.schedule.events import Event
from unet_batch.store.image import Image
from unet_batch.store.labels import register, source_of
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import LABELS, MasksLayout
from unet_batch.tiling import BlockGrid

if TYPE_CHECKING:
    from unet_batch.ingestion.annotations.drawing import Drawing


@dataclass(frozen=True, slots=True)
class AnnotationsResult:
    """What was painted.

    Attributes:
        image: whose grid it is.
        source: the file of annotations.
        output: the labels.
        classes: names in the order of their numbers.
        annotations: how many of each class.
        pixels: of each class.
        unlabelled: pixels that nothing covers.
        left_out: annotations without a class, or renamed to nothing.
        seconds: what it took.
        finished: False where the run was ended early; the same call goes on.
    """

    image: str
    source: str
    output: str
    classes: tuple[str, ...]
    annotations: dict[str, int]
    pixels: dict[str, int]
    unlabelled: int
    left_out: int
    seconds: float
    finished: bool = True

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return asdict(self)


def ingest_annotations(
    image_path: str | Path,
    source: str | Path,
    out: str | Path,
    config: AnnotationsConfig | None = None,
    *,
    hooks: Hooks = Hooks(),
) -> AnnotationsResult:
    """Labels of classes on the grid of an image, from GeoJSON (also QuPath's) or GeoPackage.

    Written like masks: 255 (65535 from 251 classes on) where nothing is annotated. ``out`` may be
    IMAGE/labels/NAME. They grow in ``OUT.partial``; the same call goes on where an earlier one ended.

    Raises:
        MissingError, FormatError: no such image or annotations, or none that can be read.
        InputError: a class that is not listed, annotations off the image, settings that do not fit.
        PlanMismatchError: ``OUT.partial`` was begun from another file or with other settings.
        OutputError: ``out`` exists or cannot be written.
    """
    config, source, began = config or AnnotationsConfig(), Path(source), time.perf_counter()
    target = StoreFolder(named(out), config.overwrite)
    target.check()
    image = Image.open(image_path)
    drawing, naming = _opened(source, image, config)
    layout = _layout(image, naming, config)
    ground = int(layout.fill) if config.rest is None else naming.classes.index(config.rest)
    painter = Painter(drawing, layout, ground, config.all_touched, config.planes == "all")
    found = run_job(AnnotationsJob(image, source, str(out), target, painter, naming, config), hooks)
    if found.finished and source_of(str(out), layout) is not None:
        register(Path(out))
    return replace(found, image=str(image_path), seconds=time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class AnnotationsJob:
    """Annotations painted block by block, new or resumed; ``out`` is the output as the caller named it."""

    image: Image
    source: Path
    out: str
    target: StoreFolder
    painter: Painter
    naming: Naming
    config: AnnotationsConfig
    retry_failed: bool = True

    def plan(self, stored: Mapping[str, Any] | None, ask: Ask) -> IngestPlan:
        """The identities of the file and the image, the settings, and the layout of the labels."""
        del stored, ask
        return make_plan(self.source, self.config, self.painter.layout, self.image.identity())

    def create(self, plan: IngestPlan) -> None:
        """The labels, as they will be known at their place."""
        del plan
        attributes = {"annotations": {"source": self.source.name, **self.config.model_dump(mode="json")}}
        Masks.create(self.target.content, self.painter.layout, attributes, locked=True, place=self.target.out)

    def workers(self, pixels: int) -> Workers:
        """Threads of this process, which share the drawing."""
        del pixels
        return Workers(ExecutionConfig(), threads_here=threads(self.config.workers))

    def passes(self, plan: IngestPlan) -> list[BlockPass]:
        """One pass, whose ledger counts the pixels of each class, then those without."""
        del plan
        masks = Masks.open(self.target.content, writable=True)
        blocks = BlockGrid(masks.layout.shape, masks.layout.block)
        work, classes = PaintWork(self.painter, masks, blocks), len(masks.layout.names) + 1
        return [
            BlockPass(
                self.target.folder, blocks, lambda _: work, classes, order="rows", prepare=masks.clean_scratch
            )
        ]

    def finish(self, plan: IngestPlan, reporter: Reporter) -> Facts:
        """Coarse levels."""
        del plan, reporter
        Masks.open(self.target.content, writable=True).finish()
        return {"counts": list(Ledger.open(self.target.folder).totals().class_counts)}

    def result(self, facts: Facts | None) -> AnnotationsResult:
        """What was painted."""
        classes = self.naming.classes
        counts = [0] * (len(classes) + 1) if facts is None else facts["counts"]
        return AnnotationsResult(
            image=self.image.path,
            source=str(self.source),
            output=self.out,
            classes=classes,
            annotations=self.naming.counts,
            pixels=dict(zip(classes, counts, strict=False)),
            unlabelled=counts[-1],
            left_out=self.naming.left_out,
            seconds=0.0,
            finished=facts is not None,
        )


@dataclass(frozen=True, slots=True)
class PaintWork:
    """Paints a block; for threads of one process."""

    painter: Painter
    masks: Masks
    blocks: BlockGrid

    def __call__(self, number: int) -> Event:
        """Paint block ``number``; its counts are the pixels of each class, then those without."""
        stopwatch, box, layout = Stopwatch(), self.blocks.box(number), self.masks.layout
        with stopwatch("paint"):
            labels = self.painter(box)
            found = np.bincount(labels.reshape(-1), minlength=int(layout.fill) + 1)
        with stopwatch("write"):
            levels = self.masks.layers[LABELS].halved(labels, layout.halve(LABELS))
            checksum = self.masks.write_block(box, {LABELS: levels})
        counts = (*found[: len(layout.names)].tolist(), int(found[int(layout.fill)]))
        return Event(number, "done", checksum=checksum, counts=counts, stages=stopwatch.seconds)


def _opened(source: Path, image: Image, config: AnnotationsConfig) -> tuple["Drawing", Naming]:
    for package in ("rasterio", "shapely"):
        require(package, "geo", str(source))
    from unet_batch.ingestion.annotations.opening import open_annotations  # noqa: PLC0415 - optional packages

    return open_annotations(source, image, config)


def _layout(image: Image, naming: Naming, config: AnnotationsConfig) -> MasksLayout:
    axes = image.axes.replace("c", "")
    # Planes stay planes unless the image itself is halved along z.
    volume = "z" in axes and image.levels[-1].factor[axes.index("z")] > 1
    chunk = None if config.chunk is None else (config.chunk,) * (3 if volume else 2)
    extents: dict[str, Any] = {"block": config.block, "chunk": chunk}
    if not volume and not isinstance(config.block, tuple):
        extents["block"] = (config.block or 4096,) * 2
    blocking = Blocking.of(image.path, axes, image.shape, IngestConfig(**extents))
    return MasksLayout(
        kind="multiclass",
        axes=axes,
        shape=image.shape,
        block=blocking.block,
        chunk=blocking.chunk,
        dims=blocking.dims,
        names=naming.classes,
        pixel_size=dict(image.pixel_size),
        unit=image.unit,
        compression=config.compression,
        name="annotations",
        georef=image.georef,
    )

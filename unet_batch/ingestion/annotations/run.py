"""`ingest_annotations`: drawn annotations become labels on the grid of an image, block by block."""

import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_batch.errors import UnetBatchError
from unet_batch.extras import require
from unet_batch.ingestion.annotations.config import AnnotationsConfig
from unet_batch.ingestion.annotations.naming import Naming
from unet_batch.ingestion.annotations.paint import Painter
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.layout import Blocking
from unet_batch.ingestion.pool import each, threads
from unet_batch.ingestion.run import Progress
from unet_batch.ingestion.staging import refuse_existing, staged
from unet_batch.store.image import Image
from unet_batch.store.labels import register, source_of, unregister
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import LABELS, MasksLayout
from unet_batch.tiling.box import Box

if TYPE_CHECKING:
    from unet_batch.ingestion.annotations.drawing import Drawing


@dataclass(frozen=True, slots=True)
class AnnotationsSummary:
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

    def to_json(self) -> dict[str, Any]:
        """The summary as plain values."""
        return asdict(self)


def ingest_annotations(
    image_path: str | Path,
    source: str | Path,
    out: str | Path,
    config: AnnotationsConfig | None = None,
    progress: Progress | None = None,
) -> AnnotationsSummary:
    """Labels of classes on the grid of an image, from GeoJSON (also QuPath's) or GeoPackage.

    Written like masks: 255 (65535 from 251 classes on) where nothing is annotated. ``out`` may be
    IMAGE/labels/NAME.

    Raises:
        MissingError, FormatError: no such image or annotations, or none that can be read.
        InputError: a class that is not listed, annotations off the image, settings that do not fit.
        OutputError: ``out`` exists or cannot be written; nothing is left behind.
    """
    config, source, out, began = config or AnnotationsConfig(), Path(source), Path(out), time.perf_counter()
    refuse_existing(out, overwrite=config.overwrite)
    image = Image.open(image_path)
    drawing, naming = _opened(source, image, config)
    layout, blocking = _layout(image, naming, config)
    ground = int(layout.fill) if config.rest is None else naming.classes.index(config.rest)
    painter = Painter(drawing, layout, ground, config.all_touched, config.planes == "all")
    with staged(out, overwrite=config.overwrite) as partial:
        attributes = {"annotations": {"source": source.name, **config.model_dump(mode="json")}}
        masks = Masks.create(partial, layout, attributes)
        counts = _paint(painter, masks, blocking, threads(config.workers), progress)
        masks.finish()
        _leave(partial)
    if source_of(str(out), layout) is not None:
        register(out)
    return AnnotationsSummary(
        image=str(image_path),
        source=str(source),
        output=str(out),
        classes=naming.classes,
        annotations=naming.counts,
        pixels=dict(zip(naming.classes, counts.tolist(), strict=False)),
        unlabelled=int(counts[-1]),
        left_out=naming.left_out,
        seconds=time.perf_counter() - began,
    )


def _opened(source: Path, image: Image, config: AnnotationsConfig) -> tuple["Drawing", Naming]:
    for package in ("rasterio", "shapely"):
        require(package, "geo", str(source))
    from unet_batch.ingestion.annotations.opening import open_annotations  # noqa: PLC0415 - optional packages

    return open_annotations(source, image, config)


def _layout(image: Image, naming: Naming, config: AnnotationsConfig) -> tuple[MasksLayout, Blocking]:
    axes = image.axes.replace("c", "")
    # Planes stay planes unless the image itself is halved along z.
    volume = "z" in axes and image.levels[-1].factor[axes.index("z")] > 1
    chunk = None if config.chunk is None else (config.chunk,) * (3 if volume else 2)
    extents: dict[str, Any] = {"block": config.block, "chunk": chunk}
    if not volume and not isinstance(config.block, tuple):
        extents["block"] = (config.block or 4096,) * 2
    blocking = Blocking.of(image.path, axes, image.shape, IngestConfig(**extents))
    layout = MasksLayout(
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
    return layout, blocking


def _paint(
    painter: Painter, masks: Masks, blocking: Blocking, workers: int, progress: Progress | None
) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """All blocks; pixels of each class, then those without."""
    layer, halve = masks.layers[LABELS], masks.layout.halve(LABELS)
    classes, fill = len(masks.layout.names), int(masks.layout.fill)

    def paint(box: Box) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        labels = painter(box)
        masks.write_block(box, {LABELS: layer.halved(labels, halve)})
        found = np.bincount(labels.reshape(-1), minlength=fill + 1)
        return np.append(found[:classes], found[fill])

    counts, pixels = np.zeros(classes + 1, np.int64), 0
    for done, (box, found) in enumerate(
        zip(blocking.boxes(), each(paint, blocking.boxes(), workers), strict=True), start=1
    ):
        counts += found
        pixels += box.size
        if progress is not None:
            progress(done, len(blocking), pixels)
    return counts


def _leave(partial: Path) -> None:
    """Labels inside an image are known there by their own name, not by that under which they were made."""
    with suppress(UnetBatchError, OSError):
        unregister(partial)

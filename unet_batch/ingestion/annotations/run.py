"""`ingest_annotations`: drawn annotations become labels on the grid of an image, block by block."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unet_batch.calls import checked
from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.job import run_job
from unet_batch.engine.progress import Hooks
from unet_batch.extras import require
from unet_batch.ingestion.annotations.config import AnnotationsConfig
from unet_batch.ingestion.annotations.naming import Naming
from unet_batch.ingestion.annotations.paint import Painter
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.layout import Blocking
from unet_batch.ingestion.painting import PaintJob
from unet_batch.ingestion.store_folder import StoreFolder, named
from unet_batch.store.image import Image
from unet_batch.store.labels import register, source_of
from unet_batch.store.masks_layout import MasksLayout

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
        outside: annotations that lie wholly outside the image.
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
    outside: int
    seconds: float
    finished: bool = True

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return asdict(self)


@checked
def ingest_annotations(
    image_path: str | Path,
    source: str | Path,
    out: str | Path,
    config: AnnotationsConfig | None = None,
    *,
    hooks: Hooks = Hooks(),
) -> AnnotationsResult:
    """Labels of classes on the grid of an image, from GeoJSON (also QuPath's), GeoPackage, COCO,
    labelme or Pascal VOC.

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
    drawing, naming, outside = _opened(source, image, config)
    layout = _layout(image, naming, config)
    ground = int(layout.fill) if config.rest is None else naming.classes.index(config.rest)
    names = layout.names
    painter = Painter(drawing, layout, ground, config.all_touched, config.planes == "all")
    settings = config.model_dump(mode="json", exclude={*ExecutionConfig.model_fields})
    attributes = {"annotations": {"source": source.name, **settings}}
    job = PaintJob(source, target, painter, config, attributes, image.identity())
    painted = run_job(job, hooks)
    if painted.finished and source_of(str(out), layout) is not None:
        register(Path(out))
    return AnnotationsResult(
        image=str(image_path),
        source=str(source),
        output=str(out),
        classes=names,
        annotations={names[0]: sum(naming.counts.values())} if config.instances else naming.counts,
        pixels=dict(zip(names, painted.counts, strict=False)),
        unlabelled=painted.counts[-1],
        left_out=naming.left_out,
        outside=outside,
        seconds=time.perf_counter() - began,
        finished=painted.finished,
    )


def _opened(source: Path, image: Image, config: AnnotationsConfig) -> tuple["Drawing", Naming, int]:
    for package in ("rasterio", "shapely"):
        require(package, "geo", str(source))
    from unet_batch.ingestion.annotations.opening import open_annotations, outside  # noqa: PLC0415 - optional packages

    drawing, naming = open_annotations(source, image, config)
    return drawing, naming, outside(drawing, image)


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
        kind="instances" if config.instances else "multiclass",
        axes=axes,
        shape=image.shape,
        block=blocking.block,
        chunk=blocking.chunk,
        dims=blocking.dims,
        names=("instances",) if config.instances else naming.classes,
        pixel_size=dict(image.pixel_size),
        unit=image.unit,
        compression=config.compression,
        name="annotations",
        georef=image.georef,
    )

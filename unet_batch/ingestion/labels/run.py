"""`ingest_labels`: a label image that people have (0 and 255, colours, instance numbers) becomes labels."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.calls import checked
from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.job import run_job
from unet_batch.engine.progress import Hooks
from unet_batch.ingestion.labels.codes import Codes, Pixels, found_codes, opened
from unet_batch.ingestion.labels.config import LabelsConfig
from unet_batch.ingestion.labels.legend import Legend
from unet_batch.ingestion.layout import Blocking
from unet_batch.ingestion.painting import PaintJob
from unet_batch.ingestion.store_folder import StoreFolder, named
from unet_batch.store.labels import register, source_of
from unet_batch.store.masks_layout import MasksLayout
from unet_batch.tiling import Box


@dataclass(frozen=True, slots=True)
class LabelsResult:
    """What was written.

    Attributes:
        source: the label image.
        output: the labels.
        classes: names in the order of their numbers; ``instances`` of instance numbers.
        pixels: of each class.
        unlabelled: pixels without a class; of instance numbers those of no instance.
        seconds: what it took.
        finished: False where the run was ended early; the same call goes on.
    """

    source: str
    output: str
    classes: tuple[str, ...]
    pixels: dict[str, int]
    unlabelled: int
    seconds: float
    finished: bool = True

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return asdict(self)


@checked
def ingest_labels(
    source: str | Path, out: str | Path, config: LabelsConfig | None = None, *, hooks: Hooks = Hooks()
) -> LabelsResult:
    """Labels from an image whose values or colours mean classes, for training, evaluation and export.

    Written like masks: 255 (65535 from 251 classes on) where there is no label. The image is read twice:
    first to see which values it holds, and a value that is no class is refused before anything is written.

    Args:
        source: a foreign image file, or Zarr.
        out: the labels; ``IMAGE/labels/NAME`` too.
        config: which value or colour means which class.
        hooks: to watch the run and to end it early.

    Raises:
        MissingError, FormatError: no such file, or none that can be read.
        InputError: values or colours that are no class, or settings that do not fit.
        PlanMismatchError: ``OUT.partial`` was begun from another file or with other settings.
        OutputError: ``out`` exists or cannot be written.
    """
    config, source, began = config or LabelsConfig(), Path(source), time.perf_counter()
    target = StoreFolder(named(out), config.overwrite)
    target.check()
    with opened(source, config) as pixels:
        painter = _painter(source, pixels, config)
        settings = config.model_dump(mode="json", exclude={*ExecutionConfig.model_fields})
        attributes = {"labels": {"source": source.name, **settings}}
        painted = run_job(PaintJob(source, target, painter, config, attributes), hooks)
    if painted.finished and source_of(str(out), painter.layout) is not None:
        register(Path(out))
    names = painter.layout.names
    return LabelsResult(
        source=str(source),
        output=str(out),
        classes=names,
        pixels=dict(zip(names, painted.counts, strict=False)),
        unlabelled=painted.counts[-1],
        seconds=time.perf_counter() - began,
        finished=painted.finished,
    )


@dataclass(frozen=True, slots=True)
class LabelPainter:
    """A Labelling by a legend; without one, the numbers of instances as they are."""

    codes: Codes
    legend: Legend | None
    layout: MasksLayout

    def __call__(self, box: Box) -> NDArray[Any]:
        """(1, *box.shape)."""
        codes = self.codes(box)
        if self.legend is None:
            return np.maximum(codes, 0).astype(self.layout.dtype)[np.newaxis]
        return self.legend.labels(codes, self.layout)[np.newaxis]


def _painter(source: Path, pixels: Pixels, config: LabelsConfig) -> LabelPainter:
    axes = pixels.axes.replace("c", "")
    blocking = Blocking.of(str(source), axes, pixels.shape, config)
    codes = Codes(source, pixels, config)
    legend = None
    if not config.instances:
        legend = Legend.of(found_codes(codes, blocking.blocks), config, source)
    layout = MasksLayout(
        kind="instances" if legend is None else "multiclass",
        axes=axes,
        shape=pixels.shape,
        block=blocking.block,
        chunk=blocking.chunk,
        dims=blocking.dims,
        names=("instances",) if legend is None else legend.names,
        colours=() if legend is None else legend.colours,
        pixel_size=dict(pixels.pixel_size),
        unit=config.unit or pixels.unit,
        compression=config.compression,
        levels=config.levels,
        name="labels",
        georef=pixels.georef,
    )
    return LabelPainter(codes, legend, layout)

"""`ingest`: a foreign file becomes an Image, streamed block by block, whole or not at all."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.formats.opening import foreign, open_reader
from unet_batch.formats.probe import probe
from unet_batch.formats.reader import Reader
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.layout import COUNT, Blocking, count_layout, fill_of
from unet_batch.ingestion.pool import each, threads
from unet_batch.ingestion.staging import refuse_existing, staged
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout, ImageWriter
from unet_batch.store.layout import PyramidLayout
from unet_batch.tiling.box import Box

Progress = Callable[[int, int, int], None]
"""Called in the main thread with blocks done, blocks in all, and pixels done."""


@dataclass(frozen=True, slots=True)
class IngestSummary:
    """What an ingest did. ``shape`` is without channels; ``notes`` say how the file was understood."""

    source: str
    output: str
    kind: str
    axes: str
    shape: tuple[int, ...]
    channels: int
    dtype: str
    pixel_size: dict[str, float]
    unit: str | None
    nodata: float | None
    blocks: int
    pixels: int
    seconds: float
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The summary as plain values."""
        return asdict(self)


def ingest(
    src: str | Path, out: str | Path, config: IngestConfig | None = None, progress: Progress | None = None
) -> IngestSummary:
    """A foreign image file as an OME-Zarr 0.5 Image with its pyramid, in bounded memory.

    The file is first read in a child process, under limits of time and memory.

    Raises:
        MissingError, FormatError: no such file, or none that can be read.
        InputError: settings that do not fit the file.
        OutputError: ``out`` exists or cannot be written; nothing is left behind.
    """
    config = config or IngestConfig()
    src, out, began = str(src), Path(out), time.perf_counter()
    refuse_existing(out, overwrite=config.overwrite)
    probe(src, config)
    with open_reader(src, config) as reader, staged(out, overwrite=config.overwrite) as partial:
        blocking = Blocking.of(src, reader.axes, reader.shape, config)
        layout = image_layout(reader, blocking, config)
        copy_blocks(src, reader, _Output.create(partial, layout), blocking, threads(config.workers), progress)
    summary = _summary(src, out, reader, layout, len(blocking))
    return replace(summary, seconds=time.perf_counter() - began)


def copy_blocks(
    src: str,
    reader: Reader,
    output: "_Output",
    blocking: Blocking,
    workers: int,
    progress: Progress | None,
) -> None:
    """All blocks from reader to writer, on ``workers`` threads (0: the plain loop)."""

    def copy(box: Box) -> int:
        with foreign(src):
            data = reader.read(box)
            valid = reader.valid(box) if reader.valid is not None else None
        output.write(box, data, valid)
        return box.size

    pixels = 0
    for done, size in enumerate(each(copy, blocking.boxes(), workers), start=1):
        pixels += size
        if progress is not None:
            progress(done, len(blocking), pixels)
    output.finish()


@dataclass(frozen=True, slots=True)
class _Output:
    """The image, and beside it the count of a file that has a mask of its own."""

    image: ImageWriter
    count: ImageWriter | None

    @classmethod
    def create(cls, path: Path, layout: ImageLayout) -> "_Output":
        count = None
        if layout.nodata_mask is not None:
            count = Image.create(path / layout.nodata_mask, count_layout(layout, "uint8"))
        return cls(Image.create(path, layout), count)

    def write(self, box: Box, data: NDArray[Any], valid: NDArray[np.bool_] | None) -> None:
        self.image.write_block(box, data)
        if self.count is not None and valid is not None:
            self.count.write_block(box, valid[np.newaxis].astype(np.uint8))

    def finish(self) -> None:
        if self.count is not None:
            self.count.finish()
        self.image.finish()


def image_layout(reader: Reader, blocking: Blocking, config: IngestConfig) -> ImageLayout:
    """The Image's layout: what the settings say, else what the file says."""
    spatial = reader.axes.replace("c", "")[-blocking.dims :]
    pixel_size, unit = dict(reader.pixel_size), reader.unit
    if config.pixel_size is not None:
        given = config.pixel_size
        pixel_size = dict(given) if isinstance(given, dict) else dict.fromkeys(spatial, given)
        unit = unit or "micrometer"
    if not pixel_size.keys() <= set(reader.axes):
        raise InputError(f"pixel_size names axes {sorted(pixel_size)}, the image has {reader.axes}; mend it")
    nodata = config.nodata if config.nodata is not None else reader.nodata
    pyramid = PyramidLayout(
        axes=reader.axes,
        shape=reader.shape,
        channels=reader.channels,
        dtype=reader.dtype.name,
        block=blocking.block,
        chunk=blocking.chunk,
        dims=blocking.dims,
        fill=fill_of(nodata, reader.dtype),
        compression=config.compression,
        levels=config.levels,
        georef=reader.georef,
    )
    return ImageLayout(
        pyramid,
        pixel_size=pixel_size,
        unit=config.unit or unit,
        channel_names=reader.channel_names,
        nodata=nodata,
        bands=reader.bands,
        nodata_mask=None if reader.valid is None else COUNT,
    )


def _summary(src: str, out: Path, reader: Reader, layout: ImageLayout, blocks: int) -> IngestSummary:
    return IngestSummary(
        source=src,
        output=str(out),
        kind=reader.kind,
        axes=reader.axes,
        shape=reader.shape,
        channels=reader.channels,
        dtype=reader.dtype.name,
        pixel_size=dict(layout.pixel_size),
        unit=layout.unit,
        nodata=layout.nodata,
        blocks=blocks,
        pixels=prod(reader.shape),
        seconds=0.0,
        notes=reader.notes,
    )

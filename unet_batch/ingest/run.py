"""`ingest`: a foreign file becomes an Image, streamed block by block, whole or not at all."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

from unet_batch.errors import InputError
from unet_batch.ingest.config import IngestConfig
from unet_batch.ingest.formats import foreign, open_reader
from unet_batch.ingest.layout import Blocking
from unet_batch.ingest.probe import probe
from unet_batch.ingest.reader import Reader
from unet_batch.ingest.staging import refuse_existing, staged
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout, ImageWriter
from unet_batch.store.layout import PyramidLayout
from unet_batch.tiling.box import Box

Progress = Callable[[int, int, int], None]
"""Called in the main thread with blocks done, blocks in all, and pixels done."""

_MOST_WORKERS = 8


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
    src, out, began = Path(src), Path(out), time.perf_counter()
    refuse_existing(out, overwrite=config.overwrite)
    probe(src, config)
    with open_reader(src, config) as reader, staged(out, overwrite=config.overwrite) as partial:
        blocking = Blocking.of(str(src), reader.axes, reader.shape, config)
        layout = image_layout(reader, blocking, config)
        writer = Image.create(str(partial), layout)
        copy_blocks(src, reader, writer, blocking, _workers(config), progress)
        writer.finish()
    summary = _summary(src, out, reader, layout, len(blocking))
    return replace(summary, seconds=time.perf_counter() - began)


def copy_blocks(
    src: Path,
    reader: Reader,
    writer: ImageWriter,
    blocking: Blocking,
    workers: int,
    progress: Progress | None,
) -> None:
    """All blocks from reader to writer, on ``workers`` threads (0: the plain loop)."""

    def copy(box: Box) -> int:
        with foreign(src):
            data = reader.read(box)
        writer.write_block(box, data)
        return box.size

    pixels = 0
    for done, size in enumerate(_each(copy, blocking.boxes(), workers), start=1):
        pixels += size
        if progress is not None:
            progress(done, len(blocking), pixels)


def image_layout(reader: Reader, blocking: Blocking, config: IngestConfig) -> ImageLayout:
    """The Image's layout: what the settings say, else what the file says."""
    spatial = reader.axes.replace("c", "")[-blocking.dims :]
    pixel_size, unit = dict(reader.pixel_size), reader.unit
    if config.pixel_size is not None:
        given = config.pixel_size
        pixel_size = dict(given) if isinstance(given, dict) else dict.fromkeys(spatial, given)
        unit = "micrometer"
    if not pixel_size.keys() <= set(reader.axes):
        raise InputError(f"pixel_size names axes {sorted(pixel_size)}, the image has {reader.axes}; mend it")
    pyramid = PyramidLayout(
        axes=reader.axes,
        shape=reader.shape,
        channels=reader.channels,
        dtype=reader.dtype.name,
        block=blocking.block,
        chunk=blocking.chunk,
        dims=blocking.dims,
        compression=config.compression,
        levels=config.levels,
    )
    return ImageLayout(
        pyramid,
        pixel_size=pixel_size,
        unit=config.unit or unit,
        channel_names=reader.channel_names,
        nodata=config.nodata if config.nodata is not None else reader.nodata,
    )


def _each(work: Callable[[Box], int], boxes: Iterable[Box], workers: int) -> Iterator[int]:
    """Results in order, a bounded number of boxes at once; the first error stops the rest."""
    if workers == 0:
        yield from map(work, boxes)
        return
    pending: deque[Future[int]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="ingest") as pool:
        try:
            for box in boxes:
                pending.append(pool.submit(work, box))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _workers(config: IngestConfig) -> int:
    if config.workers is not None:
        return config.workers
    return min(len(os.sched_getaffinity(0)), _MOST_WORKERS)


def _summary(src: Path, out: Path, reader: Reader, layout: ImageLayout, blocks: int) -> IngestSummary:
    return IngestSummary(
        source=str(src),
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

"""`ingest`: a foreign file becomes an Image, streamed block by block, whole or not at all.

>>> found = ingest("image.tif", "new.zarr", IngestConfig(block=64, chunk=32))
>>> found.kind, found.axes, found.shape, found.blocks
('TIFF', 'cyx', (150, 201), 12)
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.calls import checked
from unet_batch.engine.job import Ask, run_job
from unet_batch.engine.passes import BlockPass
from unet_batch.engine.progress import Hooks, Reporter
from unet_batch.engine.stopwatch import Stopwatch
from unet_batch.engine.target import Facts
from unet_batch.engine.worker_pool import Workers
from unet_batch.errors import InputError
from unet_batch.formats.opening import foreign
from unet_batch.formats.probe import probe
from unet_batch.formats.reader import Reader
from unet_batch.formats.several import open_channels
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.layout import COUNT, Blocking, count_layout, fill_of
from unet_batch.ingestion.plan import IngestPlan, make_plan, threads
from unet_batch.ingestion.store_folder import StoreFolder, named
from unet_batch.schedule.events import Event
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout, ImageWriter, lost_of
from unet_batch.store.layout import PyramidLayout
from unet_batch.store.ledger import Ledger
from unet_batch.store.nodata import Nodata
from unet_batch.tiling import BlockGrid, Box


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What an ingest did.

    Attributes:
        shape: without channels.
        notes: how the file was understood.
        finished: False where the run was ended early; the same call goes on.
    """

    source: str
    output: str
    kind: str
    axes: str
    shape: tuple[int, ...]
    channels: int
    dtype: str
    pixel_size: dict[str, float]
    unit: str | None
    nodata: Nodata
    blocks: int
    pixels: int
    seconds: float
    notes: tuple[str, ...]
    finished: bool = True

    def to_json(self) -> dict[str, Any]:
        """The result as plain values."""
        return asdict(self)


@checked
def ingest(
    src: str | Path | Sequence[str | Path],
    out: str | Path,
    config: IngestConfig | None = None,
    *,
    hooks: Hooks = Hooks(),
) -> IngestResult:
    """A foreign image file as an OME-Zarr 0.5 Image with its pyramid, in bounded memory.

    The file is first read in a child process, under limits of time and memory. The image grows in
    ``OUT.partial``; the same call goes on where an earlier one ended.

    Args:
        src: the file, a folder of DICOM, or the URL of a raster; several files on one grid become channels.
        out: the image; it appears there once it is whole.
        config: settings.
        hooks: to watch the run and to end it early.

    Raises:
        MissingError, FormatError: no such file, or none that can be read; nothing of this run is left behind.
        InputError: settings that do not fit the file.
        PlanMismatchError: ``OUT.partial`` was begun from another file or with other settings.
        OutputError: ``out`` exists or cannot be written; the blocks that are done wait for the next run.
    """
    config = config or IngestConfig()
    sources, began = (
        [str(src)] if isinstance(src, str | Path) else [str(one) for one in src],
        time.perf_counter(),
    )
    target = StoreFolder(named(out), config.overwrite)
    target.check()
    for one in sources:
        probe(one, config if len(sources) == 1 else config.model_copy(update={"channels": None}))
    with open_channels(sources, config) as reader:
        blocking = Blocking.of(sources[0], reader.axes, reader.shape, config)
        layout = image_layout(reader, blocking, config)
        job = IngestJob(tuple(sources), str(out), target, reader, blocking, layout, config)
        return replace(run_job(job, hooks), seconds=time.perf_counter() - began)


@dataclass(frozen=True, slots=True)
class IngestJob:
    """Foreign files copied block by block, new or resumed; ``out`` is the output as the caller named it."""

    sources: tuple[str, ...]
    out: str
    target: StoreFolder
    reader: Reader
    blocking: Blocking
    layout: ImageLayout
    config: IngestConfig
    retry_failed: bool = True

    def plan(self, stored: Mapping[str, Any] | None, ask: Ask) -> IngestPlan:
        """The file's identity, the settings, and the layout that follows from both."""
        del stored, ask
        return make_plan(self.sources[0], self.config, self.layout, more=self.sources[1:])

    def create(self, plan: IngestPlan) -> None:
        """The arrays."""
        del plan
        _Output.create(self.target.content, self.layout)

    def workers(self, pixels: int) -> Workers:
        """Threads of this process, which share the strips and tiles that were decoded."""
        del pixels
        return threads(self.config)

    def passes(self, plan: IngestPlan) -> list[BlockPass]:
        """One pass, row by row, so that strips shared by a row are at hand."""
        del plan
        output = _Output.open(self.target.content, self.layout)
        work = CopyWork(self.sources, self.config, self.reader, self.blocking.blocks, output)
        return [
            BlockPass(
                self.target.folder,
                self.blocking.blocks,
                lambda _: work,
                order="rows",
                prepare=output.clean_scratch,
                lost=partial(output.lost, self.blocking.blocks),
            )
        ]

    def finish(self, plan: IngestPlan, reporter: Reporter) -> Facts:
        """Coarse levels, and the metadata that makes it an image."""
        del plan, reporter
        _Output.open(self.target.content, self.layout).finish()
        return {}

    def result(self, facts: Facts | None) -> IngestResult:
        """What was read and written."""
        reader, layout = self.reader, self.layout
        return IngestResult(
            source=", ".join(self.sources),
            output=self.out,
            kind=reader.kind,
            axes=reader.axes,
            shape=reader.shape,
            channels=reader.channels,
            dtype=reader.dtype.name,
            pixel_size=dict(layout.pixel_size),
            unit=layout.unit,
            nodata=layout.nodata,
            blocks=len(self.blocking),
            pixels=prod(reader.shape),
            seconds=0.0,
            notes=reader.notes,
            finished=facts is not None,
        )


@dataclass(frozen=True, slots=True)
class CopyWork:
    """Copies a block to the output. Threads share the reader; other processes open their own."""

    sources: tuple[str, ...]
    config: IngestConfig
    reader: Reader
    blocks: BlockGrid
    output: "_Output"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.sources, self.config, self.blocks, self.output)

    def __call__(self, number: int) -> Event:
        """Copy block ``number``."""
        stopwatch, box = Stopwatch(), self.blocks.box(number)
        with stopwatch("read"), foreign(self.sources[0]):
            data = self.reader.read(box)
            valid = self.reader.valid(box) if self.reader.valid is not None else None
        with stopwatch("write"):
            checksum = self.output.write(box, data, valid)
        return Event(number, "done", checksum=checksum, counts=(box.size,), stages=stopwatch.seconds)


def _reopened(
    sources: tuple[str, ...], config: IngestConfig, blocks: BlockGrid, output: "_Output"
) -> CopyWork:
    return CopyWork(sources, config, _reader(sources, config.model_dump_json()), blocks, output)


@lru_cache(maxsize=1)
def _reader(sources: tuple[str, ...], settings: str) -> Reader:
    """The reader of a process that does blocks for another."""
    return open_channels(list(sources), IngestConfig.model_validate_json(settings))


@dataclass(frozen=True, slots=True)
class _Output:
    """The image, and beside it the count of a file that has a mask of its own."""

    image: ImageWriter
    count: ImageWriter | None

    @classmethod
    def create(cls, path: Path, layout: ImageLayout) -> "_Output":
        return cls._made(Image.create, path, layout)

    @classmethod
    def open(cls, path: Path, layout: ImageLayout) -> "_Output":
        return cls._made(ImageWriter.open, path, layout)

    @classmethod
    def _made(
        cls, make: Callable[[Path, ImageLayout], ImageWriter], path: Path, layout: ImageLayout
    ) -> "_Output":
        count = None
        if layout.nodata_mask is not None:
            count = make(path / layout.nodata_mask, count_layout(layout, "uint8"))
        return cls(make(path, layout), count)

    def write(self, box: Box, data: NDArray[Any], valid: NDArray[np.bool_] | None) -> int:
        written = self.image.write_block(box, data)
        if self.count is not None and valid is not None:
            written ^= self.count.write_block(box, valid[np.newaxis].astype(np.uint8))
        return written

    @property
    def writers(self) -> list[ImageWriter]:
        return [writer for writer in (self.image, self.count) if writer is not None]

    def clean_scratch(self) -> None:
        for writer in self.writers:
            writer.clean_scratch()

    def lost(self, blocks: BlockGrid, ledger: Ledger) -> list[tuple[int, ...]]:
        return lost_of(self.writers, blocks, ledger)

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
    nodata = reader.nodata
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
        channel_names=_channel_names(reader, config),
        nodata=nodata,
        bands=reader.bands,
        nodata_mask=None if reader.valid is None else COUNT,
        source=reader.attributes,
    )


def _channel_names(reader: Reader, config: IngestConfig) -> tuple[str, ...]:
    names = config.channel_names
    if names is not None and len(names) != reader.channels:
        raise InputError(
            f"channel_names has {len(names)} names for {reader.channels} channels; give one each"
        )
    return reader.channel_names if names is None else names

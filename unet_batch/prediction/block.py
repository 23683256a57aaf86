"""What a worker does with a block: read, predict, write. One PredictWork serves all blocks of a run."""

import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.engine.latest import Latest
from unet_batch.engine.stopwatch import Stopwatch
from unet_batch.formats.image import open_image
from unet_batch.prediction.foreground import Foreground
from unet_batch.prediction.plan import Plan
from unet_batch.prediction.resources import CACHE_BYTES, calls_at_once
from unet_batch.schedule.dask import packets_here
from unet_batch.schedule.events import Event
from unet_batch.store.cache import ChunkCache, ReadCount
from unet_batch.store.image import Image
from unet_batch.store.masks import Masks
from unet_batch.store.pipeline import default_threads
from unet_batch.tiling import Block, Box


@dataclass(frozen=True, slots=True)
class PredictWork:
    """Predicts a block. Travels to workers; what it opens there stays open for the worker's life.

    Attributes:
        plan: what to compute.
        image: path of the image.
        masks: path of the store.
        models: paths of the checkpoints, in the plan's order.
        device: ``cpu``, ``cuda`` (each worker claims one that no other has) or ``cuda:N``.
        threads: CPU threads of the network; None leaves the library's choice.
        workers: how many share the machine's memory, as far as the driver knows.
        blocks: how many each is to do, likewise; from both follows how many network calls run at once.
    """

    plan: Plan
    image: str
    masks: str
    models: tuple[str, ...]
    device: str
    threads: int | None
    workers: int = 1
    blocks: int = 1

    def __call__(self, number: int) -> Event:
        """Block ``number`` from the image to the store."""
        started = time.perf_counter()
        tools = _tools_of(self)
        opened = time.perf_counter() - started
        event = tools.process(number)
        # Loading and compiling the network is the first block's, and of those that waited for it.
        return replace(event, stages={"open": opened, **event.stages})


class _Tools:
    """What one process needs for its blocks, opened once and shared by its threads."""

    def __init__(self, work: PredictWork) -> None:
        from unet_batch.models.device import resolve_device  # noqa: PLC0415 - torch on workers, not in drivers
        from unet_batch.prediction.pipeline import pipeline_of  # noqa: PLC0415 - imports torch
        from unet_batch.prediction.predictor import Predictor  # noqa: PLC0415 - torch on workers, not in drivers

        self.plan = work.plan
        part = work.plan.image
        self.image = open_image(work.image, part.view_of(work.image), part.level)
        device = resolve_device(work.device)
        # A GPU leaves the worker's cores to reading and writing; a CPU's network has them.
        encoders = 1 if device == "cpu" else work.threads or default_threads()
        self.masks = Masks.open(work.masks, writable=True, encoders=encoders)
        self.foreground = Foreground.open(work.plan, self.image)
        self.cache = ChunkCache(CACHE_BYTES)
        predictor = Predictor(
            work.plan,
            work.models,
            work.plan.runtime(device, work.threads, _calls(work)),
            self.masks.one_pass_levels,
            self.masks.layout.fill,
        )
        self.pipeline = pipeline_of(predictor)

    def process(self, number: int) -> Event:
        """Read, predict and write one block."""
        block = self.plan.blocks.at(number)
        stopwatch = Stopwatch()
        with stopwatch("read"):
            if self.foreground.is_background(block.box):
                return Event(number, "skipped", stages=stopwatch.seconds)
            source = _CachedSource(self.image, self.cache, self._interior(block), self.plan.image.channels)
            read_box = self.plan.tiles.read_box(block.box)
            hull, has = self.foreground.nodata.read(source, read_box, block.box)
            valid = self.foreground.valid(block.box, has)
        decoded, needed = source.count.decoded_bytes, block.box.size * hull.shape[0] * hull.itemsize
        if valid is not None and not valid.any():
            return Event(
                number, "skipped", stages=stopwatch.seconds, decoded_bytes=decoded, needed_bytes=needed
            )
        computed = self.pipeline(hull, block.box, valid, stopwatch)
        with stopwatch("write"):
            checksum = self.masks.write_block(block.box, computed.arrays)
        return Event(
            number,
            "done",
            checksum=checksum,
            counts=computed.counts,
            stages=stopwatch.seconds,
            decoded_bytes=decoded,
            needed_bytes=needed,
            remark=computed.remark,
        )

    def _interior(self, block: Block) -> Box:
        """The part of a block that no neighbour reads."""
        grid = self.plan.tiles
        return block.box.grow(tuple(-n for n in grid.after), tuple(-n for n in grid.before))


@dataclass(slots=True)
class _CachedSource:
    """An image seen through the worker's chunk cache, counting what is decoded."""

    image: Image
    cache: ChunkCache
    interior: Box
    channels: tuple[int, ...]
    count: ReadCount = field(default_factory=ReadCount)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    def read(self, box: Box) -> NDArray[Any]:
        pixels, count = self.image.read_cached(box, self.cache, self.interior, self.channels)
        self.count += count
        return np.asarray(pixels)


def _calls(work: PredictWork) -> int:
    """How many network calls this worker should run at once."""
    packets, threads = packets_here(), work.threads or 1
    return calls_at_once(work.plan, packets, threads, work.blocks, work.workers)


_tools_of = Latest(_Tools)

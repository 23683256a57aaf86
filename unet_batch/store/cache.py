"""A cache of decoded chunks, and reading through it. zarr has none: overlapping reads decode again.

Knows chunk grids and boxes, not files.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unet_batch.tiling.box import Box

ChunkKey = tuple[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class ReadCount:
    """Bytes of pixels decoded for a read, and bytes that the read returned."""

    decoded_bytes: int = 0
    needed_bytes: int = 0

    def __add__(self, other: "ReadCount") -> "ReadCount":
        return ReadCount(self.decoded_bytes + other.decoded_bytes, self.needed_bytes + other.needed_bytes)


class ChunkCache:
    """The decoded chunks used last, up to ``max_bytes`` in all. Safe to share between threads."""

    def __init__(self, max_bytes: int) -> None:
        if max_bytes < 0:
            raise ValueError(f"a cache cannot hold {max_bytes} bytes")
        self.max_bytes = max_bytes
        self._chunks: OrderedDict[ChunkKey, NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        return self._bytes

    def get(self, key: ChunkKey) -> NDArray[Any] | None:
        """The chunk, or None. It is shared: do not write to it."""
        with self._lock:
            chunk = self._chunks.get(key)
            if chunk is not None:
                self._chunks.move_to_end(key)
            return chunk

    def put(self, key: ChunkKey, chunk: NDArray[Any]) -> None:
        """Keep a copy of ``chunk``; the least recently used ones make room."""
        if chunk.nbytes > self.max_bytes:
            return
        kept = chunk.copy()
        kept.flags.writeable = False
        with self._lock:
            before = self._chunks.pop(key, None)
            self._bytes += kept.nbytes - (0 if before is None else before.nbytes)
            self._chunks[key] = kept
            while self._bytes > self.max_bytes:
                self._bytes -= self._chunks.popitem(last=False)[1].nbytes


class Chunked(Protocol):
    """What reading through a cache needs of an array."""

    @property
    def path(self) -> str:
        """Tells arrays apart."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all axes."""
        ...

    @property
    def chunk(self) -> tuple[int, ...]:
        """Extent of what is decoded at once."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels."""
        ...

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of ``box``."""
        ...


@dataclass(frozen=True, slots=True)
class _Read:
    region: Box
    pixels: NDArray[Any]


def read_through(
    array: Chunked, box: Box, cache: ChunkCache, keep_outside: Box | None = None
) -> tuple[NDArray[Any], ReadCount]:
    """The pixels of ``box``, with cached chunks copied and the others read in a few rectangles.

    Decoded chunks are kept unless they lie wholly inside ``keep_outside``.
    """
    grid = box.scale_down(array.chunk)
    cached = {
        index: chunk for index in grid.positions() if (chunk := cache.get((array.path, index))) is not None
    }
    missing = np.ones(grid.shape, dtype=np.bool_)
    for index in cached:
        missing[tuple(i - g for i, g in zip(index, grid.start, strict=True))] = False
    out = None
    decoded = 0
    for cells in rectangles(missing):
        chunks = cells.shift(grid.start)
        region = _pixels(array, chunks)
        pixels = array.read(region)
        decoded += pixels.nbytes
        _keep(array, chunks, _Read(region, pixels), cache, keep_outside)
        if region.contains(box):
            return pixels[box.relative_to(region.start).slices], _count(array, box, decoded)
        out = np.empty(box.shape, array.dtype) if out is None else out
        _paste(out, box, pixels, region)
    out = np.empty(box.shape, array.dtype) if out is None else out
    for index, chunk in cached.items():
        _paste(out, box, chunk, _pixels(array, _cell(index)))
    return out, _count(array, box, decoded)


def rectangles(missing: NDArray[np.bool_]) -> Iterator[Box]:
    """Disjoint boxes that cover the True cells of a grid and no others, each grown greedily."""
    left = missing.copy()
    while left.any():
        start = tuple(int(i) for i in np.unravel_index(int(left.argmax()), left.shape))
        box = _cell(start)
        for axis in reversed(range(left.ndim)):
            box = _grown(left, box, axis)
        left[box.slices] = False
        yield box


def _grown(left: NDArray[np.bool_], box: Box, axis: int) -> Box:
    step = tuple(int(a == axis) for a in range(left.ndim))
    while box.stop[axis] < left.shape[axis]:
        wider = box.grow((0,) * left.ndim, step)
        if not left[wider.slices].all():
            break
        box = wider
    return box


def _keep(array: Chunked, chunks: Box, read: "_Read", cache: ChunkCache, keep_outside: Box | None) -> None:
    for index in chunks.positions():
        cell = _pixels(array, _cell(index))
        if keep_outside is None or not keep_outside.contains(cell):
            cache.put((array.path, index), read.pixels[cell.relative_to(read.region.start).slices])


def _paste(out: NDArray[Any], box: Box, pixels: NDArray[Any], region: Box) -> None:
    both = box.intersect(region)
    out[both.relative_to(box.start).slices] = pixels[both.relative_to(region.start).slices]


def _pixels(array: Chunked, chunks: Box) -> Box:
    return chunks.scale_up(array.chunk).intersect(Box.of_shape(array.shape))


def _cell(index: tuple[int, ...]) -> Box:
    return Box(index, tuple(i + 1 for i in index))


def _count(array: Chunked, box: Box, decoded: int) -> ReadCount:
    return ReadCount(decoded, box.size * array.dtype.itemsize)

"""SegmentedTiff: the strips or tiles of a TIFF series, decoded on demand and kept while neighbours need them.

Reads segments at their offsets and decodes them with tifffile's own per-segment decoder: random access
without decoding whole pages. Knows nothing of metadata beyond where pixels lie.
"""

import os
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from math import ceil, prod
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unet_batch.errors import FormatError
from unet_batch.tiling.box import Box

SEGMENT_LIMIT = 2**30
"""Bytes that one decoded strip or tile may take."""

_PAGE_NDIM = 5  # separate samples, depth, length, width, samples of a pixel: tifffile's `shaped`
_LENGTH, _WIDTH = 2, 3
_JPEG = {6, 7, 33007, 34892}

Key = tuple[int, int]


class SegmentCache:
    """Least recently used decoded segments, at most ``max_bytes``; each decoded once however many wait."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._kept: OrderedDict[Key, Future[NDArray[Any]]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Key, decode: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """The segment, from ``decode`` where it is not kept."""
        with self._lock:
            future = self._kept.get(key)
            mine = future is None
            if future is None:
                future = self._kept[key] = Future()
            self._kept.move_to_end(key)
        if mine:
            self._fill(key, future, decode)
        return future.result()

    def _fill(self, key: Key, future: Future[NDArray[Any]], decode: Callable[[], NDArray[Any]]) -> None:
        try:
            segment = decode()
        except BaseException as error:
            with self._lock:
                self._kept.pop(key, None)
            future.set_exception(error)
            raise
        future.set_result(segment)
        with self._lock:
            self._bytes += segment.nbytes
            self._evict()

    def _evict(self) -> None:
        while self._bytes > self._max_bytes and next(iter(self._kept.values())).done():
            _, future = self._kept.popitem(last=False)
            self._bytes -= future.result().nbytes


class SegmentedTiff:
    """A StoredArray over one level of a tifffile series. Axes of extent 1 are left out, but y and x.

    Raises:
        FormatError: pages that do not make up the series.
    """

    def __init__(self, path: Path, series: tifffile.TiffPageSeries, cache_bytes: int) -> None:
        self._path = path
        self._series = series
        self._key = series.keyframe
        self.dtype = np.dtype(np.bool_) if self._key.dtype == np.bool_ else np.dtype(series.dtype)
        self._frames, self._page_axes, self.axes = _layout(path, series)
        self.shape = self._frames + tuple(self._key.shaped[k] for k in self._page_axes)
        self._segment = _segment_shape(self._key)
        self._grid = tuple(ceil(n / s) for n, s in zip(self._key.shaped, self._segment, strict=True))
        self._cache = SegmentCache(cache_bytes)
        self._lock = Lock()
        self._files: dict[Path, tuple[int, int]] = {}

    def bytes_across(self, height: int) -> int:
        """Decoded bytes of the segments that a row of blocks ``height`` pixels high touches in one page."""
        rows = min(height + self._segment[_LENGTH], self._key.shaped[_LENGTH])
        return rows * prod(self._key.shaped) // self._key.shaped[_LENGTH] * self.dtype.itemsize

    @property
    def spans_width(self) -> bool:
        """Whether one segment reaches from the left edge to the right."""
        return self._grid[_WIDTH] == 1

    def require_small_segments(self) -> None:
        """Raise FormatError where one strip or tile decodes to more than SEGMENT_LIMIT."""
        size = prod(self._segment) * self.dtype.itemsize
        if size > SEGMENT_LIMIT:
            raise FormatError(
                f"{self._path}: one strip or tile decodes to {size} bytes, more than {SEGMENT_LIMIT}; "
                "re-save it as a tiled TIFF"
            )

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of the box, in the order of ``axes``."""
        count = len(self._frames)
        inside = Box((0,) * _PAGE_NDIM, self._key.shaped)
        start, stop = list(inside.start), list(inside.stop)
        for position, k in enumerate(self._page_axes):
            start[k], stop[k] = box.start[count + position], box.stop[count + position]
        page_box = Box(tuple(start), tuple(stop))
        frames = Box(box.start[:count], box.stop[:count])
        out = np.empty((frames.size, *page_box.shape), self.dtype)
        for plane, frame in zip(out, frames.positions(), strict=True):
            self._read_page(_ravel(frame, self._frames), page_box, plane)
        return out.reshape(box.shape)

    def close(self) -> None:
        """Close the files."""
        with self._lock:
            for descriptor, _ in self._files.values():
                os.close(descriptor)
            self._files.clear()
        if self._series.parent is not None:
            self._series.parent.close()

    def _read_page(self, page: int, box: Box, out: NDArray[Any]) -> None:
        for cell in box.scale_down(self._segment).positions():
            index = _ravel(cell, self._grid)
            pixels = self._cache.get((page, index), partial(self._decode, page, index))
            origin = tuple(c * s for c, s in zip(cell, self._segment, strict=True))
            here = Box.of_shape(pixels.shape).shift(origin).intersect(box)
            out[here.relative_to(box.start).slices] = pixels[here.relative_to(origin).slices]

    def _decode(self, page_number: int, index: int) -> NDArray[Any]:
        """One segment, 5-D, at most as large as the page leaves room for."""
        with self._lock:
            page = self._series[page_number]
        keyframe = page.keyframe if page is not None else None
        if page is None or keyframe is None:
            raise FormatError(
                f"{self._path}: plane {page_number} is missing; put all files of the set side by side"
            )
        data = self._segment_bytes(page, index)
        more: dict[str, Any] = {"_fullsize": keyframe.is_tiled}
        if keyframe.compression in _JPEG:
            more |= {"jpegtables": page.jpegtables, "jpegheader": keyframe.jpegheader}
        decoded, start, shape = keyframe.decode(data, index, **more)
        if decoded is None:  # a sparse segment: nothing is stored where all is background
            decoded = np.full(shape, keyframe.nodata, self.dtype)
        if self._series.transform is not None:
            decoded = self._series.transform(decoded)
        room = tuple(n - s for n, s in zip(self._key.shaped, start, strict=True))[1:]
        kept = decoded[tuple(slice(0, max(0, r)) for r in room)]
        wanted = tuple(min(a, b) for a, b in zip(room, self._segment[1:], strict=True))
        if kept.shape != wanted:
            raise FormatError(
                f"{self._path}: strip or tile {index} holds {kept.shape} pixels, not {wanted}; damaged"
            )
        return kept[np.newaxis]

    def _segment_bytes(self, page: tifffile.TiffPage | tifffile.TiffFrame, index: int) -> bytes | None:
        offsets, counts = page.dataoffsets, page.databytecounts
        listed, needed = min(len(offsets), len(counts)), prod(self._grid)
        if listed < needed:
            raise FormatError(
                f"{self._path}: lists {listed} strips or tiles of {needed}; it is damaged, write it again"
            )
        offset, count = offsets[index], counts[index]
        # Tiles without bytes are background (Aperio, GDAL); a strip is so only where it has no place either.
        if count == 0 and (offset == 0 or self._key.is_tiled):
            return None
        if offset <= 0 or count <= 0:
            raise FormatError(
                f"{self._path}: strip or tile {index} has no bytes; the file is damaged, write it again"
            )
        descriptor, size = self._file(Path(page.parent.filehandle.path))
        if offset + count > size:
            raise FormatError(
                f"{self._path}: cut short, strip or tile {index} ends at byte {offset + count} "
                f"of {size}; copy it again"
            )
        return os.pread(descriptor, count, offset)

    def _file(self, path: Path) -> tuple[int, int]:
        with self._lock:
            if path not in self._files:
                descriptor = os.open(path, os.O_RDONLY)
                self._files[path] = (descriptor, os.fstat(descriptor).st_size)
            return self._files[path]


def _segment_shape(key: tifffile.TiffPage) -> tuple[int, ...]:
    """Extent of one segment along the five axes of a page."""
    samples = key.shaped[4]
    if key.is_tiled:
        return (1, key.tiledepth, key.tilelength, key.tilewidth, samples)
    return (1, 1, min(key.rowsperstrip, key.shaped[_LENGTH]), key.shaped[_WIDTH], samples)


def _layout(path: Path, series: tifffile.TiffPageSeries) -> tuple[tuple[int, ...], tuple[int, ...], str]:
    """Extents of the axes that count pages, the page axes (of five) that are kept, and all their letters."""
    shape, letters = series.get_shape(squeeze=False), series.get_axes(squeeze=False)
    size = series.keyframe.size
    split = next((i for i in range(len(shape), -1, -1) if prod(shape[i:]) == size), None)
    if split is None:
        raise FormatError(f"{path}: pages of {series.keyframe.shape} do not make up {shape}; damaged")
    frames = [(n, a) for n, a in zip(shape[:split], letters[:split], strict=True) if n != 1]
    inner = [(n, a) for n, a in zip(shape[split:], letters[split:], strict=True) if n != 1]
    shaped = series.keyframe.shaped
    wide = [k for k in range(_PAGE_NDIM) if shaped[k] != 1]
    if [n for n, _ in inner] != [shaped[k] for k in wide]:
        raise FormatError(f"{path}: pages of {series.keyframe.shape} do not make up {shape}; damaged")
    names = dict(zip(wide, (a for _, a in inner), strict=True)) | {_LENGTH: "Y", _WIDTH: "X"}
    page_axes = tuple(sorted(names))
    axes = "".join(a for _, a in frames) + "".join(names[k] for k in page_axes)
    return tuple(n for n, _ in frames), page_axes, axes


def _ravel(position: tuple[int, ...], extent: tuple[int, ...]) -> int:
    index = 0
    for p, n in zip(position, extent, strict=True):
        index = index * n + p
    return index

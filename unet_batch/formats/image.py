"""A foreign file as an Image, without a copy: its pixels, and coarser levels as `ingest` would write them."""

import hashlib
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import file_of, foreign, is_zarr, open_reader
from unet_batch.formats.probe import probe
from unet_batch.formats.raster import is_remote
from unet_batch.formats.reader import Reader
from unet_batch.store import bands
from unet_batch.store.image import Image
from unet_batch.store.layer import as_stored
from unet_batch.store.layout import IMAGE_BLOCK, IMAGE_CHUNK, PyramidLayout
from unet_batch.store.level import AS_IS, Level, View
from unet_batch.store.pixel_array import ComputedArray
from unet_batch.store.pyramid import halve_mean
from unet_batch.store.resample import resampled
from unet_batch.tiling import BlockGrid, Box

_ENDS = 2**16
_PIECE = 2048  # pixels of the full resolution, a side, that are halved at once
_MOST_KEPT = 2**26
_THREADS = 4


def is_foreign(path: str | Path) -> bool:
    """Whether ``path`` names a file, or a folder, that `open_reader` would read."""
    if is_remote(path):
        return False
    file = file_of(path)
    return file.is_file() or (file.is_dir() and not is_zarr(file) and any(file.glob("*.dcm")))


def open_image(path: str | Path, view: View = AS_IS, level: int = 0) -> Image:
    """The Zarr image at ``path``, or the foreign file there with levels as `ingest` makes them.

    Args:
        path: of a store or file.
        view: axes, series and pixel size, where they are not to be as the image has them.
        level: of the pyramid.

    Raises:
        MissingError, FormatError, InputError: as of ``Image.open`` and ``open_reader``.
    """
    if not is_foreign(path):
        if view.series is not None:
            raise InputError(f"{path}: is no file of several images; leave `series` out")
        image = Image.open(str(path), axes=view.axes, level=level)
    else:
        config = ReadConfig(axes=view.axes, series=view.series)
        _probe_once(str(path), file_identity(path), config.model_dump_json())
        image = replace(_virtual(str(path), open_reader(path, config), view), view=view).at_level(level)
    return image if view.resample is None else resampled(image, view.resample)


@lru_cache(maxsize=256)
def _probe_once(path: str, identity: str, settings: str) -> None:
    """Read a file in a child process the first time that this one opens it."""
    del identity
    probe(path, ReadConfig.model_validate_json(settings))


def file_identity(path: str | Path) -> str:
    """Size, time of the last change, and a hash of both ends of a file."""
    file = file_of(path)
    seen = file.stat()
    digest = hashlib.sha256(f"{seen.st_size} {seen.st_mtime_ns} {path!s}".encode() if file.is_dir() else b"")
    if file.is_file():
        with file.open("rb") as opened:
            digest.update(opened.read(_ENDS))
            opened.seek(max(0, seen.st_size - _ENDS))
            digest.update(opened.read(_ENDS))
    return f"{seen.st_size} {seen.st_mtime_ns} {digest.hexdigest()}"


def _virtual(path: str, reader: Reader, view: View) -> Image:
    which = f"series {view.series} axes {view.axes}"
    if reader.valid is not None:
        reader.close()
        raise InputError(f"{path}: has a mask of its own beside its pixels; `unet-batch ingest` it first")
    dims = 3 if "z" in reader.axes else 2
    outer = (1,) * (len(reader.shape) - dims)
    layout = PyramidLayout(
        axes=reader.axes,
        shape=reader.shape,
        channels=reader.channels,
        dtype=reader.dtype.name,
        block=outer + (IMAGE_BLOCK[dims],) * dims,
        chunk=outer + (IMAGE_CHUNK[dims],) * dims,
        dims=dims,
    )
    source = _Pyramid(path, reader, layout)
    identity = {"codecs": f"{file_identity(path)} {which}", "shape": reader.shape, "dtype": reader.dtype.name}
    arrays = tuple(
        ComputedArray(
            f"{path} {which} level {level}",
            layout.array_at(level).shape,
            reader.dtype,
            layout.array_at(level).chunk,
            partial(source.read, level),
            identity,
        )
        for level in range(layout.level_count)
    )
    levels = tuple(
        Level(str(level), layout.shape_at(level), tuple(map(float, layout.factor(level))))
        for level in range(layout.level_count)
    )
    own = {"source": dict(reader.attributes), "bands": bands.to_json(reader.bands)}
    return Image(
        path,
        reader.axes,
        0,
        levels,
        arrays,
        reader.channel_names,
        dict(reader.pixel_size),
        reader.unit,
        reader.nodata,
        reader.georef,
        own if reader.bands else {"source": dict(reader.attributes)},
    )


class _Pyramid:
    """Levels of a reader, halved from its pixels piece by piece; small ones are kept once they were made."""

    def __init__(self, path: str, reader: Reader, layout: PyramidLayout) -> None:
        self._path, self._reader, self._layout = path, reader, layout
        self._kept: dict[int, NDArray[Any]] = {}
        self._lock = Lock()
        weakref.finalize(self, reader.close)

    def read(self, level: int, box: Box) -> NDArray[Any]:
        """The pixels of ``box``, which has the stored axes, channels included, of a level."""
        at = self._layout.axes.find("c")
        place = Box(_without(box.start, at), _without(box.stop, at))
        channels = slice(None) if at < 0 else slice(box.start[at], box.stop[at])
        found = self._base(place) if not level else self._coarse(level, place)
        return as_stored(found[channels], self._layout.axes)

    def _base(self, place: Box) -> NDArray[Any]:
        with foreign(self._path):
            return self._reader.read(place)

    def _coarse(self, level: int, place: Box) -> NDArray[Any]:
        whole = Box.of_shape(self._layout.shape_at(level))
        size = whole.size * self._layout.channels * np.dtype(self._layout.dtype).itemsize
        if size > _MOST_KEPT or place.size * 4 < whole.size:
            return self._halved(level, place)
        with self._lock:
            if level not in self._kept:
                self._kept[level] = self._halved(level, whole)
        return self._kept[level][(slice(None), *place.slices)]

    def _halved(self, level: int, place: Box) -> NDArray[Any]:
        out = np.empty((self._layout.channels, *place.shape), self._layout.dtype)
        pieces = list(self._pieces(level, place))
        with ThreadPoolExecutor(_THREADS) as pool:
            for piece, pixels in zip(pieces, pool.map(partial(self._piece, level), pieces), strict=True):
                out[(slice(None), *piece.relative_to(place.start).slices)] = pixels
        return out

    def _pieces(self, level: int, place: Box) -> Iterator[Box]:
        """Boxes of a level that make up ``place``, each of so many pixels of the full resolution."""
        dims = self._layout.dims
        side = max(1, (_PIECE if dims == 2 else _PIECE // 16) >> level)
        outer = (1,) * (place.ndim - dims)
        for block in BlockGrid(place.shape, outer + (side,) * dims):
            yield block.box.shift(place.start)

    def _piece(self, level: int, place: Box) -> NDArray[Any]:
        whole = Box.of_shape(self._layout.shape)
        pixels = self._base(place.scale_up(self._layout.factor(level)).intersect(whole))
        for _ in range(level):
            pixels = halve_mean(pixels, range(-self._layout.dims, 0), nodata=self._reader.nodata)
        return pixels


def _without(values: tuple[int, ...], at: int) -> tuple[int, ...]:
    return values if at < 0 else values[:at] + values[at + 1 :]

"""Image: what is read. OME-Zarr 0.4 and 0.5, and plain Zarr arrays. Writing is image_writer's.

Pixels come with a leading channel axis; boxes cover the other axes, in stored order.

>>> image = Image.open("image.zarr")
>>> image.axes, image.shape, image.channels, str(image.dtype)
('cyx', (150, 201), 3, 'uint8')
>>> image.read(Box((0, 0), (64, 32))).shape
(3, 64, 32)
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import FormatError, InputError
from unet_batch.store import bands, ome
from unet_batch.store.arrays import Array, Location, described, open_array
from unet_batch.store.bands import Band
from unet_batch.store.cache import ChunkCache, ReadCount
from unet_batch.store.containment import inside
from unet_batch.store.georef import GeoReference
from unet_batch.store.group import read_node
from unet_batch.store.image_writer import ImageLayout, ImageWriter
from unet_batch.store.layer import channels_first, with_channels
from unet_batch.store.level import AS_IS, Level, View, check_axes, without_channels
from unet_batch.store.nodata import Nodata, parse, with_nan
from unet_batch.store.pixel_array import PixelArray
from unet_batch.store.presence import watch
from unet_batch.store.sampling import means, percentiles
from unet_batch.tiling.box import Box

ALIASES = {"band": "c", "channel": "c", "time": "t"}
_IDENTITY_CHUNKS = 16
# What of an array's metadata decides its pixels; attributes and names do not.
_IDENTITY_KEYS = ("shape", "data_type", "dtype", "chunk_grid", "chunks", "fill_value", "codecs", "compressor")


@dataclass(frozen=True, slots=True)
class Image:
    """One level of an image: ``pixel_size`` and ``georef`` are its own, ``shape`` leaves the channels out.

    ``georef`` is None where nothing says where on the earth the image lies.
    """

    path: str
    axes: str
    level: int
    levels: tuple[Level, ...]
    arrays: tuple[PixelArray, ...]
    channel_names: tuple[str, ...]
    pixel_size: Mapping[str, float]
    unit: str | None
    nodata: Nodata
    georef: GeoReference | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    view: View = AS_IS

    @classmethod
    def open(
        cls, path: Location, axes: str | None = None, level: int = 0, *, watched: bool = True
    ) -> "Image":
        """The image at ``path``. A plain array of more than two axes needs ``axes`` or dimension names.

        Unless told otherwise, blocks that a ledger in it calls done, and whose file is gone, are damage.

        Raises:
            MissingError: no such path.
            FormatError: no image there, or metadata that cannot be used.
            InputError: axes that do not fit, or a level that is not there.
        """
        where = described(path)
        kind, attributes = read_node(path, where)
        if kind == "array":
            image = _plain(cls, path, axes, attributes)
        else:
            image = _from_ome(cls, path, axes, attributes)
        if watched:
            watch(image.path, tuple(one for one in image.arrays if isinstance(one, Array)), image.axes)
        return replace(image, view=View(axes)).at_level(level)

    @staticmethod
    def create(path: str | Path, layout: ImageLayout) -> ImageWriter:
        """A new image, to be written block by block; see ImageWriter."""
        return ImageWriter.create(path, layout)

    @property
    def array(self) -> PixelArray:
        """The array of this level."""
        return self.arrays[self.level]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self.array.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of this level without channels."""
        return self.levels[self.level].shape

    @property
    def channels(self) -> int:
        """Number of channels; 1 where there is no channel axis."""
        at = self.axes.find("c")
        return 1 if at < 0 else self.array.shape[at]

    @property
    def chunk(self) -> tuple[int, ...]:
        """Extent of what is decoded at once, without channels."""
        at = self.axes.find("c")
        return tuple(c for axis, c in enumerate(self.array.chunk) if axis != at)

    @property
    def bands(self) -> tuple[Band, ...]:
        """What the numbers of the channels mean; empty where this is not known."""
        return bands.parse(self.own, self.path)

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What the file that it was ingested from said beside its pixels, by topic."""
        found = self.own.get("source")
        return found if isinstance(found, Mapping) else {}

    @property
    def nodata_mask(self) -> str | None:
        """Path of an image of this one's levels, 0 where there is no data; None where values alone say so."""
        inner = self.own.get("nodata_mask")
        return inside(self.path, inner) if isinstance(inner, str) else None

    @property
    def exact_levels(self) -> bool:
        """Whether a pixel of a coarser level is without data only where all pixels below it are.

        This holds for the values that the store itself names, ``stored_nodata``.
        """
        return self.own.get("exact_levels") is True

    @property
    def stored_nodata(self) -> Nodata:
        """Values without data that the coarser levels were made with; stores of old do not name NaN."""
        return parse(self.own.get("nodata"))

    def at_level(self, level: int) -> "Image":
        """The same image at another level."""
        if not 0 <= level < len(self.levels):
            raise InputError(f"{self.path}: no level {level}; choose 0 to {len(self.levels) - 1}")
        names = self.axes.replace("c", "")
        was, new = self.levels[self.level].factor, self.levels[level].factor
        ratio = {a: n / w for a, n, w in zip(names, new, was, strict=True)}
        size = {a: s * ratio[a] for a, s in self.pixel_size.items()}
        place = None if self.georef is None else self.georef.scaled(ratio["y"], ratio["x"])
        return replace(self, level=level, pixel_size=size, georef=place)

    def read(self, box: Box, channels: tuple[int, ...] | None = None) -> NDArray[Any]:
        """(C, *box.shape) of the channels asked for (all), in that order; ``box`` lies inside the shape.

        Raises:
            DamageError: stored data that cannot be decoded.
        """
        first, stop = self._channel_range(channels)
        pixels = self.array.read(with_channels(box, self.axes, first, stop))
        return self._picked(pixels, channels, first)

    def read_cached(
        self,
        box: Box,
        cache: ChunkCache,
        keep_outside: Box | None = None,
        channels: tuple[int, ...] | None = None,
    ) -> tuple[NDArray[Any], ReadCount]:
        """``read`` through ``cache``; chunks wholly inside ``keep_outside`` are not kept. Read-only."""
        first, stop = self._channel_range(channels)
        wide = with_channels(box, self.axes, first, stop)
        inside = None if keep_outside is None else with_channels(keep_outside, self.axes, 0, self.channels)
        pixels, count = self.array.read_cached(wide, cache, inside)
        return self._picked(pixels, channels, first), count

    def is_written(self, box: Box) -> bool:
        """Whether a shard under ``box`` was ever written with more than fill; True where nobody knows."""
        return self.array.has_data(with_channels(box, self.axes, 0, self.channels))

    def identity(self) -> str:
        """SHA-256 over what decides the pixels of level 0: array metadata, axes and sampled chunks.

        The same for a copy elsewhere or at another time. A change outside the sampled chunks (16, evenly
        spaced) is not seen.
        """
        array = self.arrays[0]
        metadata = {key: str(array.metadata.get(key)) for key in _IDENTITY_KEYS}
        digest = hashlib.sha256(json.dumps([metadata, self.axes], sort_keys=True).encode())
        for box in array.chunks.spaced(_IDENTITY_CHUNKS):
            digest.update(np.ascontiguousarray(array.read(box)).data)
        return digest.hexdigest()

    def percentiles(
        self,
        q: Sequence[float],
        channels: tuple[int, ...] | None = None,
        nodata: Nodata = None,
        mask: "Image | None" = None,
    ) -> NDArray[np.float64]:
        """(C, len(q)) percentiles of pixels that are data, from a coarse level or evenly spaced chunks.

        ``nodata`` defaults to the image's own; where ``mask`` is 0 there is no data either. At most some 16
        million pixels a channel are read; the same image gives the same values. NaN for a channel without
        data.
        """
        ignored = self.nodata if nodata is None else nodata
        return percentiles(self, q, channels or tuple(range(self.channels)), ignored, mask)

    def means(
        self, channels: tuple[int, ...], nodata: Nodata = None, mask: "Image | None" = None
    ) -> NDArray[np.float64]:
        """(C,) means of the pixels that ``percentiles`` looks at."""
        return means(self, channels, self.nodata if nodata is None else nodata, mask)

    def _channel_range(self, channels: tuple[int, ...] | None) -> tuple[int, int]:
        if channels is None:
            return 0, self.channels
        if not channels or not all(0 <= c < self.channels for c in channels):
            raise InputError(f"{self.path}: no channels {channels}; choose among 0 to {self.channels - 1}")
        return min(channels), max(channels) + 1

    def _picked(self, pixels: NDArray[Any], channels: tuple[int, ...] | None, first: int) -> NDArray[Any]:
        leading = channels_first(pixels, self.axes)
        wanted = None if channels is None else [c - first for c in channels]
        return leading if wanted is None or wanted == list(range(len(leading))) else leading[wanted]


def _plain(kind: type[Image], path: Location, axes: str | None, attributes: dict[str, Any]) -> Image:
    array = open_array(path)
    known = axes or _named_axes(array, attributes)
    ndim = len(array.shape)
    if known is None and ndim == 2:
        known = "yx"
    if known is None:
        raise InputError(
            f"{array.path}: {ndim} axes without names; say which they are, for example --axes cyx"
        )
    check_axes(array, known)
    level = Level("", without_channels(array.shape, known), (1.0,) * len(known.replace("c", "")))
    size = dict.fromkeys(known.replace("c", ""), 1.0)
    nodata = with_nan(parse(attributes.get("_FillValue", attributes.get("nodata"))), array.dtype)
    georef = GeoReference.parse(attributes, where=array.path)
    return kind(array.path, known, 0, (level,), (array,), (), size, None, nodata, georef)


def _from_ome(kind: type[Image], path: Location, axes: str | None, attributes: dict[str, Any]) -> Image:
    where = described(path)
    found = ome.parse(attributes, where)
    if found is None:
        raise FormatError(f"{where}: a Zarr group without OME-Zarr multiscales; {_cure(attributes)}")
    if axes is not None and axes != found.axes:
        raise InputError(f"{where}: its metadata says axes {found.axes}, not {axes}; leave the axes out")
    arrays = tuple(open_array(path, dataset.path) for dataset in found.datasets)
    for array in arrays:
        check_axes(array, found.axes)
    sizes = [without_channels(dataset.scale, found.axes) for dataset in found.datasets]
    levels = tuple(
        Level(
            d.path,
            without_channels(a.shape, found.axes),
            tuple(s / t for s, t in zip(size, sizes[0], strict=True)),
        )
        for d, a, size in zip(found.datasets, arrays, sizes, strict=True)
    )
    own = attributes.get("unet_batch")
    own = own if isinstance(own, Mapping) else {}
    nodata = with_nan(parse(own.get("nodata")), arrays[0].dtype)
    extents = zip(found.axes.replace("c", ""), sizes[0], strict=True)
    pixel_size = {axis: extent for axis, extent in extents if axis in found.sized}
    of_array = arrays[0].metadata.get("attributes")
    georef = GeoReference.parse(attributes, of_array if isinstance(of_array, Mapping) else {}, where=where)
    return kind(
        where, found.axes, 0, levels, arrays, found.channel_names, pixel_size, found.unit, nodata, georef, own
    )


def _cure(attributes: Mapping[str, Any]) -> str:
    ome_part = attributes.get("ome", attributes)
    keys = ome_part if isinstance(ome_part, Mapping) else {}
    if "bioformats2raw.layout" in keys:
        return "a bioformats2raw collection, open one of its series, for example PATH/0"
    if "plate" in keys or "well" in keys:
        return "a plate, open one of its fields, for example PATH/A/1/0"
    return "give the path of an image or array inside it"


def _named_axes(array: PixelArray, attributes: Mapping[str, Any]) -> str | None:
    names = array.metadata.get("dimension_names") or attributes.get("_ARRAY_DIMENSIONS")
    if not isinstance(names, list | tuple):
        return None
    letters = [ALIASES.get(str(name).lower(), str(name).lower()) for name in names]
    return "".join(letters) if all(letter in list("tczyx") for letter in letters) else None

"""How arrays are laid out on disk: shards, chunks, compression, and the levels of a pyramid.

Plain arithmetic; touches no files.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec

from unet_batch.errors import InputError
from unet_batch.store.georef import GRID_MAPPING, GeoReference
from unet_batch.tiling import BlockGrid, ceil_div, round_up

IMAGE_BLOCK = {2: 4096, 3: 256}
"""Default block extent of images by the number of spatial axes."""
IMAGE_CHUNK = {2: 512, 3: 128}
"""Default inner chunk extent of images."""

_BLOSC_LEVEL = 5
# A block's part of a level is written in the same pass while it is at least this long: smaller shards
# would be too many small files.
_SMALLEST_SHARD = {2: 256, 3: 32}
# Extent of the shards of the levels above, in chunks; they are streamed, so this bounds memory.
_COARSE_CHUNKS = {2: 2, 3: 2}


@dataclass(frozen=True, slots=True)
class ArrayLayout:
    """How an array is laid out: ``shard`` is a multiple of ``chunk`` on every axis."""

    shape: tuple[int, ...]
    dtype: str
    shard: tuple[int, ...]
    chunk: tuple[int, ...]
    fill: float = 0
    compression: str = "zstd"
    names: tuple[str, ...] | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        said = f"shape {self.shape}, shard {self.shard}, chunk {self.chunk}"
        if not len(self.shape) == len(self.shard) == len(self.chunk):
            raise InputError(f"{said}: give one length per axis to each")
        if min((*self.shape, *self.shard, *self.chunk), default=0) < 1:
            raise InputError(f"{said}: lengths must be at least 1")
        if any(s % c for s, c in zip(self.shard, self.chunk, strict=True)):
            raise InputError(f"{said}: the shard must be a multiple of the chunk")
        codecs(self.compression)

    def as_zarr(self) -> dict[str, Any]:
        """What zarr is told of a new array."""
        return {
            "shape": self.shape,
            "dtype": self.dtype,
            "chunks": self.chunk,
            "shards": self.shard,
            "compressors": codecs(self.compression),
            "fill_value": self.fill,
            "dimension_names": self.names,
            "attributes": dict(self.attributes),
        }


def codecs(compression: str) -> list[Any]:
    """Codecs of a setting: ``zstd``, ``zstd:LEVEL``, ``blosc-lz4`` or ``none``, always with a checksum."""
    name, _, level = compression.partition(":")
    if name == "zstd" and (not level or (level.isdecimal() and 1 <= int(level) <= 22)):
        return [ZstdCodec(level=int(level or 0), checksum=True)]
    if compression == "blosc-lz4":
        return [BloscCodec(cname="lz4", clevel=_BLOSC_LEVEL, shuffle="shuffle"), Crc32cCodec()]
    if compression == "none":
        return [Crc32cCodec()]
    raise InputError(f"compression `{compression}`: use zstd, zstd:1 to zstd:22, blosc-lz4 or none")


@dataclass(frozen=True, slots=True)
class PyramidLayout:
    """A multiscale array. ``axes`` in the order t c z y x; shape, block and chunk leave the channels out.

    A block is one shard of level 0, with all channels. The last ``dims`` axes are halved from level to
    level (rounding up), the others never. ``levels`` counts level 0; None goes on until one chunk holds all.
    ``georef`` is that of level 0.
    """

    axes: str
    shape: tuple[int, ...]
    channels: int
    dtype: str
    block: tuple[int, ...]
    chunk: tuple[int, ...]
    dims: int
    fill: float = 0
    compression: str = "zstd"
    levels: int | None = None
    georef: GeoReference | None = None

    def __post_init__(self) -> None:
        check_axes(self.axes)
        count = len(self.axes.replace("c", ""))
        if not len(self.shape) == len(self.block) == len(self.chunk) == count:
            raise InputError(f"axes {self.axes}: shape, block and chunk need {count} lengths each, without c")
        if self.dims not in _SMALLEST_SHARD or self.dims > count:
            raise InputError(
                f"axes {self.axes}: dims must be 2 or 3 and not more than the axes, got {self.dims}"
            )
        if min((*self.shape, *self.block, *self.chunk, self.channels)) < 1:
            raise InputError(f"shape {self.shape}, block {self.block}, chunk {self.chunk} must be at least 1")
        if self.levels is not None and self.levels < 1:
            raise InputError(f"a pyramid has at least one level, got {self.levels}")
        if "c" not in self.axes and self.channels != 1:
            raise InputError(f"axes {self.axes}: {self.channels} channels need an axis c")

    @property
    def blocks(self) -> BlockGrid:
        """What is written as one, without channels."""
        return BlockGrid(self.shape, self.block)

    @property
    def level_count(self) -> int:
        """How many levels there are."""
        if self.levels is not None:
            return self.levels
        count = 1
        while any(
            n > c
            for n, c in zip(self.shape_at(count - 1)[-self.dims :], self.chunk[-self.dims :], strict=True)
        ):
            count += 1
        return count

    @property
    def one_pass_levels(self) -> int:
        """How many levels, from 0 on, a block writes its own shard of."""
        spatial = self.block[-self.dims :]
        count = 1
        while (
            count < self.level_count
            and all(b % 2**count == 0 for b in spatial)
            and min(spatial) // 2**count >= _SMALLEST_SHARD[self.dims]
        ):
            count += 1
        return count

    def factor(self, level: int) -> tuple[int, ...]:
        """Pixels of level 0 per pixel of ``level`` on each axis but c."""
        return (1,) * (len(self.shape) - self.dims) + (2**level,) * self.dims

    def shape_at(self, level: int) -> tuple[int, ...]:
        """Shape of ``level`` without channels."""
        return tuple(ceil_div(n, f) for n, f in zip(self.shape, self.factor(level), strict=True))

    def array_at(self, level: int) -> ArrayLayout:
        """The array of ``level``; each inner chunk holds one channel, each shard all."""
        shape = self.shape_at(level)
        if level < self.one_pass_levels:
            shard = tuple(b // f for b, f in zip(self.block, self.factor(level), strict=True))
        else:
            outer = len(self.shape) - self.dims
            coarse = _COARSE_CHUNKS[self.dims]
            shard = self.block[:outer] + tuple(c * coarse for c in self.chunk[outer:])
        fitted = [_fit(n, s, c) for n, s, c in zip(shape, shard, self.chunk, strict=True)]
        return ArrayLayout(
            shape=self._with_channels(shape, self.channels),
            dtype=self.dtype,
            shard=self._with_channels(tuple(s for s, _ in fitted), self.channels),
            chunk=self._with_channels(tuple(c for _, c in fitted), 1),
            fill=self.fill,
            compression=self.compression,
            names=tuple(self.axes),
            attributes=self._attributes_at(level),
        )

    def group_attributes(self, resampling: str) -> dict[str, Any]:
        """What the group of the levels says of where they lie; ``resampling`` is how they were halved."""
        if self.georef is None:
            return {}
        return self.georef.group_attributes([self.shape_at(k) for k in range(self.level_count)], resampling)

    def _attributes_at(self, level: int) -> dict[str, Any]:
        if self.georef is None:
            return {}
        y, x = self.factor(level)[-2:]
        attributes = self.georef.scaled(y, x).array_attributes(self.shape_at(level))
        return attributes if level else {**attributes, "grid_mapping": GRID_MAPPING}

    def _with_channels(self, lengths: tuple[int, ...], channels: int) -> tuple[int, ...]:
        where = self.axes.find("c")
        return lengths if where < 0 else (*lengths[:where], channels, *lengths[where:])


def check_axes(axes: str) -> None:
    """Raise InputError unless ``axes`` are among t c z y x in this order, with y and x."""
    if not axes.endswith("yx") or "".join(a for a in "tczyx" if a in axes) != axes:
        raise InputError(f"axes `{axes}`: use t, c, z, y, x in this order, with y and x")


def _fit(shape: int, shard: int, chunk: int) -> tuple[int, int]:
    """Shard and chunk of one axis: the shard whole, unless the image ends in it; the chunk divides it."""
    if shape < shard:
        chunk = min(chunk, shape)
        return round_up(shape, chunk), chunk
    if shard <= chunk:
        return shard, shard
    divisor = next(c for c in range(chunk, 0, -1) if shard % c == 0)
    # A shard with no divisor near the chunk (a prime) would fall apart into slivers.
    return shard, divisor if divisor * 4 >= chunk else shard

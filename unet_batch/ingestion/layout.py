"""How an ingested image is cut into blocks and chunks. Arithmetic on settings; touches no file."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from unet_batch.errors import InputError
from unet_batch.ingestion.config import Extent, IngestConfig
from unet_batch.store.image_writer import ImageLayout
from unet_batch.store.layout import IMAGE_BLOCK, IMAGE_CHUNK
from unet_batch.store.nodata import Nodata, first_of
from unet_batch.tiling import BlockGrid, Box

COUNT = "count"
"""Array beside an image's levels: from how many files each pixel comes, 0 where there is no data."""


@dataclass(frozen=True, slots=True)
class Blocking:
    """Block and chunk extents for every axis but c; the last ``dims`` axes are spatial, the others 1."""

    shape: tuple[int, ...]
    dims: int
    block: tuple[int, ...]
    chunk: tuple[int, ...]

    @classmethod
    def of(cls, where: str, axes: str, shape: tuple[int, ...], config: IngestConfig) -> "Blocking":
        """The blocking of an image of these axes (c may be among them) and non-channel shape.

        Raises:
            InputError: a block or chunk with another number of axes than the image, or a block that is no
                multiple of its chunk.
        """
        dims = _dims(where, axes, config)
        outer = (1,) * (len(shape) - dims)
        block = _extents(config.block, dims, IMAGE_BLOCK[dims])
        default_chunk = tuple(_divisor(b, IMAGE_CHUNK[dims]) for b in block)
        chunk = _extents(config.chunk, dims, 0) if config.chunk is not None else default_chunk
        if any(b % c for b, c in zip(block, chunk, strict=True)):
            raise InputError(
                f"{where}: block {block} is not a multiple of chunk {chunk}; mend `block` or `chunk`"
            )
        return cls(shape, dims, outer + block, outer + chunk)

    def __len__(self) -> int:
        return len(self.blocks)

    @property
    def blocks(self) -> BlockGrid:
        """The blocks, without channels."""
        return BlockGrid(self.shape, self.block)

    def boxes(self) -> Iterator[Box]:
        """All blocks clipped to the image, row by row, so that strips shared by a row are at hand."""
        return (block.box for block in self.blocks)


def fill_of(given: Nodata, dtype: np.dtype[Any]) -> float:
    """What a block that is never written reads as: no data, where the type can hold that."""
    nodata = first_of(given)
    if nodata is None:
        return 0
    if dtype.kind == "f":
        return nodata
    limits = np.iinfo(dtype)
    fits = float(nodata).is_integer() and limits.min <= nodata <= limits.max
    return int(nodata) if fits else 0


def count_layout(image: ImageLayout, dtype: str) -> ImageLayout:
    """The count that goes with an image: one channel of the same levels, 0 only where all below are."""
    axes = image.pyramid.axes.replace("c", "")
    pyramid = replace(image.pyramid, axes=axes, channels=1, dtype=dtype, fill=0)
    return ImageLayout(pyramid, dict(image.pixel_size), image.unit, nodata=None, name=COUNT, halving="max")


def _dims(where: str, axes: str, config: IngestConfig) -> int:
    """Number of spatial axes: what the block (or chunk) says, else three where there is a z."""
    possible = 3 if "z" in axes else 2
    given = {len(extent) for extent in (config.block, config.chunk) if isinstance(extent, tuple)}
    if len(given) > 1 or max(given, default=2) > possible:
        raise InputError(
            f"{where}: axes {axes} have {possible} spatial axes; give `block` and `chunk` as many numbers"
        )
    return given.pop() if given else possible


def _extents(extent: Extent | None, dims: int, default: int) -> tuple[int, ...]:
    if isinstance(extent, tuple):
        return extent
    return (extent if extent is not None else default,) * dims


def _divisor(block: int, chunk: int) -> int:
    """The largest divisor of the block that is at most ``chunk``."""
    return next(c for c in range(min(block, chunk), 0, -1) if block % c == 0)

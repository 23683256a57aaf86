"""NoData: where an image has no data, told as cheaply as it can be; and what networks see there instead.

A pixel is without data where all its channels hold one of the plan's values. Where the plan has a mask, its
zeros say so instead, and of the values only NaN counts beside it.
"""

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.prediction.collar import mirrored
from unet_batch.prediction.mask import open_mask
from unet_batch.prediction.plan import Plan
from unet_batch.store.image import Image
from unet_batch.store.nodata import Nodata, covers, is_missing
from unet_batch.tiling import BlockGrid, Box, border
from unet_batch.tiling.border import Source

# Pixels of a coarse level that the driver looks at to leave empty blocks out at once.
_MOST_LOOKED_AT = 2**27

Valid = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class NoData:
    """What a plan and an image say of missing data: by ``mask`` (of the image's shape), else by value."""

    plan: Plan
    image: Image
    mask: Image | None

    @classmethod
    def open(cls, plan: Plan, image: Image) -> "NoData":
        """With the mask opened and checked.

        Raises:
            InputError: a mask of another shape than the image.
        """
        path = plan.image.nodata_mask
        return cls(plan, image, None if path is None else open_mask(path, image))

    @property
    def known(self) -> bool:
        """Whether anything says where data is missing."""
        return self.mask is not None or self.plan.image.nodata is not None

    def is_empty(self, region: Box) -> bool:
        """Whether ``region`` certainly has no data, as none of its shards was ever written. Reads nothing."""
        source = self._told_by
        return self.known and _fills_with(source, self._absent) and not source.is_written(region)

    def _over(self, region: Box, pixels: NDArray[Any]) -> Valid | None:
        """Where ``region``, with its ``pixels`` (C, *region), has data; None where nothing says.

        ``region`` may pass the image, as the plan's border has it; what is made up there is data.
        """
        if not self.known:
            return None
        rule = self.plan.compute.border
        found = self._of(pixels) if self.mask is None else self._masked(region, pixels)
        if rule == "constant":
            inside = region.intersect(Box.of_shape(self.image.shape)).relative_to(region.start)
            found, within = np.ones_like(found), found
            found[inside.slices] = within[inside.slices]
        return found

    def _masked(self, region: Box, pixels: NDArray[Any]) -> Valid:
        assert self.mask is not None
        found = self._of(border.read(self.mask, region, self.plan.compute.border))
        if pixels.dtype.kind == "f" and covers(self.plan.image.nodata, float("nan")):
            found &= ~np.isnan(pixels).all(axis=0)
        return found

    def read(self, source: Source, region: Box, block: Box) -> tuple[NDArray[Any], Valid | None]:
        """(C, *region) of ``source`` as networks see it, and which pixels of ``block`` are data (None: all).

        ``block`` lies in ``region``. What is missing is filled as the plan says, unless the block has nothing
        at all. A filled pixel follows from the image alone, whatever the region, as far as networks reach.
        """
        pixels = border.read(source, region, self.plan.compute.border)
        has = self._over(region, pixels)
        if has is None or has.all():
            return pixels, None
        valid = has[block.relative_to(region.start).slices]
        if not valid.any() or self.plan.compute.nodata_fill == "keep":
            return pixels, valid
        if self.plan.compute.nodata_fill == "mean":
            return np.where(has, pixels, self._constant(pixels, self.plan.compute.nodata_mean)), valid
        return self._mirrored(source, region), valid

    def _mirrored(self, source: Source, region: Box) -> NDArray[Any]:
        reach = self.plan.grid.before
        more = tuple(2 * n + 2 if n else 0 for n in reach)
        wide = region.grow(more, more)
        seen = border.read(source, wide, self.plan.compute.border)
        around = self._over(wide, seen)
        assert around is not None, "what is known of a region is known of more"
        filled, left = mirrored(seen, around, reach)
        filled = np.where(left, self._constant(filled, self.plan.compute.offset), filled)
        return np.asarray(filled[(slice(None), *region.relative_to(wide.start).slices)])

    def empty_blocks(self) -> Valid | None:
        """Which blocks certainly have no data, as a mask of the grid's shape; None: this cannot be told.

        Looks at one coarse level, so that a driver leaves out millions of blocks at once.
        """
        source, block = self._told_by, self.plan.grid.block
        exact = source.exact_levels and (self.mask is not None or covers(source.stored_nodata, self._absent))
        coarse = _coarse(source, block) if self.known and exact else None
        if coarse is None or prod(coarse.shape) > _MOST_LOOKED_AT:
            return None
        cells = tuple(b // f for b, f in zip(block, _ratio(coarse, source), strict=True))
        step = cells[0] * max(1, coarse.chunk[0] // cells[0])
        strips = BlockGrid(coarse.shape, (step, *coarse.shape[1:]))
        found = [_any_by(self._of(coarse.read(strip.box, self._channels)), cells) for strip in strips]
        return ~np.concatenate(found)

    @property
    def _told_by(self) -> Image:
        return self.image if self.mask is None else self.mask

    @property
    def _channels(self) -> tuple[int, ...] | None:
        return None if self.mask is not None else self.plan.image.channels

    @property
    def _absent(self) -> Nodata:
        return 0.0 if self.mask is not None else self.plan.image.nodata

    def _of(self, pixels: NDArray[Any]) -> Valid:
        """Which of (C, *any) pixels are data."""
        return np.asarray(~is_missing(pixels, self._absent).all(axis=0))

    def _constant(self, pixels: NDArray[Any], values: tuple[float, ...]) -> NDArray[Any]:
        """One value per channel, as pixels are stored."""
        column = np.asarray(values, np.float64).reshape(-1, *(1,) * (pixels.ndim - 1))
        if pixels.dtype.kind == "f":
            return column.astype(pixels.dtype)
        limits = np.iinfo(pixels.dtype)
        return np.clip(np.rint(column), limits.min, limits.max).astype(pixels.dtype)


def _fills_with(image: Image, absent: Nodata) -> bool:
    fill = image.array.fill
    return fill is not None and covers(absent, float(fill))


def _coarse(image: Image, block: tuple[int, ...]) -> Image | None:
    """The coarsest level of which whole pixels make up a block, above this one."""
    levels = [image.at_level(k) for k in range(image.level + 1, len(image.levels))]
    fitting = [
        level for level in levels if not any(b % f for b, f in zip(block, _ratio(level, image), strict=True))
    ]
    return fitting[-1] if fitting else None


def _ratio(coarse: Image, image: Image) -> tuple[int, ...]:
    above, own = coarse.levels[coarse.level].factor, image.levels[image.level].factor
    return tuple(max(1, round(a / b)) for a, b in zip(above, own, strict=True))


def _any_by(has: Valid, cells: tuple[int, ...]) -> Valid:
    """Whether any pixel of each cell has data."""
    for axis, cell in enumerate(cells):
        has = np.logical_or.reduceat(has, np.arange(0, has.shape[axis], cell), axis=axis)
    return has

"""Mean and standard deviation of every channel over the training regions, measured once for the ModelSpec."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.models.spec import MeanStd, ModelSpec
from unet_batch.tiling import BlockGrid, Box, ceil_div
from unet_batch.training.data.region import Region

# Pixels per region and channel that are read in all: of larger regions, evenly spaced pieces of a megapixel.
_MOST_PIXELS = 2**26
_PIECE_PIXELS = 2**20


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum and sum of squared distances from the mean, per channel; mergeable (Chan et al. 1979)."""

    count: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, pixels: NDArray[Any], nodata: float | None) -> "Moments":
        """Moments of (C, *box) pixels that are data."""
        rows = [_data(channel, nodata) for channel in pixels]
        count = np.array([row.size for row in rows], np.float64)
        mean = np.array([row.mean() if row.size else 0.0 for row in rows])
        squares = np.array([((row - m) ** 2).sum() for row, m in zip(rows, mean, strict=True)])
        return cls(count, mean, squares)

    def __add__(self, other: "Moments") -> "Moments":
        count = self.count + other.count
        share = np.divide(other.count, count, out=np.zeros_like(count), where=count > 0)
        apart = other.mean - self.mean
        squares = self.squares + other.squares + apart**2 * self.count * share
        return Moments(count, self.mean + apart * share, squares)


def measured(spec: ModelSpec, regions: Sequence[Region]) -> ModelSpec:
    """``spec`` with the mean and standard deviation of each channel over ``regions`` as its normalisation.

    Streamed; the same stores give the same values. Pixels without data (nodata, NaN) are left out.

    Raises:
        InputError: a channel without data.
    """
    total = Moments(*(np.zeros(spec.in_channels) for _ in range(3)))
    for region in regions:
        for piece in _pieces(region.box):
            total += Moments.of(
                region.stores.pixels.image.read(piece, region.stores.pixels.channels),
                region.stores.image.nodata,
            )
    for channel in np.flatnonzero(total.count == 0):
        raise InputError(
            f"{regions[0].stores.image.path}: channel {channel} has no data in the training boxes; move them"
        )
    std = np.sqrt(total.squares / total.count)
    std[std == 0] = 1  # a constant channel is shifted only
    normalisation = MeanStd(mean=tuple(total.mean.tolist()), std=tuple(std.tolist()))
    return spec.model_copy(update={"normalisation": normalisation})


def _pieces(box: Box) -> Iterator[Box]:
    """Evenly spaced boxes of about a megapixel; all of them where the region is small enough."""
    grid = BlockGrid(box.shape, _step(box.shape))
    return (piece.shift(box.start) for piece in grid.spaced(_MOST_PIXELS // _PIECE_PIXELS))


def _step(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Extent of a piece: whole rows of the last axes, as cubic as the region allows."""
    step = list(shape)
    while math.prod(step) > _PIECE_PIXELS:
        longest = max(range(len(step)), key=step.__getitem__)
        step[longest] = ceil_div(step[longest], 2)
    return tuple(step)


def _data(values: NDArray[Any], nodata: float | None) -> NDArray[np.float64]:
    flat = values.reshape(-1)
    if nodata is not None and not math.isnan(nodata):
        flat = flat[flat != nodata]
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)]
    return flat.astype(np.float64)

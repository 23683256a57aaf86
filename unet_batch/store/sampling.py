"""Looking at a part of a huge array: evenly spaced chunks, and percentiles from them or a coarse level."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unet_batch.tiling.box import Box

_MAX_PIXELS = 2**24


class Sampled(Protocol):
    """What sampling needs of an image."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Without channels."""
        ...

    @property
    def chunk(self) -> tuple[int, ...]:
        """Without channels."""
        ...

    @property
    def levels(self) -> Sequence[Any]:
        """One entry per level."""
        ...

    def at_level(self, level: int) -> "Sampled":
        """The image at another level."""
        ...

    def read(self, box: Box, channels: tuple[int, ...] | None = None) -> NDArray[Any]:
        """(C, *box.shape)."""
        ...


def sample_chunks(shape: tuple[int, ...], chunk: tuple[int, ...], count: int) -> Iterator[Box]:
    """At most ``count`` chunks of the grid, evenly spaced, the first and the last among them."""
    grid = tuple(-(-n // c) for n, c in zip(shape, chunk, strict=True))
    total = prod(grid)
    taken = min(count, total)
    for number in dict.fromkeys(i * (total - 1) // max(1, taken - 1) for i in range(taken)):
        index = np.unravel_index(number, grid)
        start = tuple(int(i) * c for i, c in zip(index, chunk, strict=True))
        stop = tuple(min(a + c, n) for a, c, n in zip(start, chunk, shape, strict=True))
        yield Box(start, stop)


def percentiles(
    image: Sampled, q: Sequence[float], channels: tuple[int, ...], nodata: float | None
) -> NDArray[np.float64]:
    """(C, len(q)) percentiles of the pixels that are data; NaN for a channel without any."""
    coarse = next((i for i in map(image.at_level, range(len(image.levels))) if _small(i)), None)
    source = coarse or image.at_level(len(image.levels) - 1)
    return np.stack([_of_channel(source, q, channel, nodata) for channel in channels])


def _small(image: Sampled) -> bool:
    return prod(image.shape) <= _MAX_PIXELS


def _of_channel(
    image: Sampled, q: Sequence[float], channel: int, nodata: float | None
) -> NDArray[np.float64]:
    count = max(1, _MAX_PIXELS // prod(image.chunk))
    if _small(image):
        boxes: Iterator[Box] = iter([Box.of_shape(image.shape)])
    else:
        boxes = sample_chunks(image.shape, image.chunk, count)
    values = np.concatenate([_data(image.read(box, (channel,)), nodata) for box in boxes])
    if not values.size:
        return np.full(len(q), np.nan)
    return np.asarray(np.percentile(values, q), dtype=np.float64)


def _data(pixels: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    flat = pixels.reshape(-1)
    if np.issubdtype(flat.dtype, np.floating):
        flat = flat[np.isfinite(flat)]
    return flat if nodata is None or np.isnan(nodata) else flat[flat != nodata]

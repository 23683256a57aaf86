"""Looking at a part of a huge array: evenly spaced chunks, and percentiles from them or a coarse level."""

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unet_batch.store.nodata import Nodata, is_missing
from unet_batch.tiling import BlockGrid, Box

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


def percentiles(
    image: Sampled,
    q: Sequence[float],
    channels: tuple[int, ...],
    nodata: Nodata,
    mask: Sampled | None = None,
) -> NDArray[np.float64]:
    """(C, len(q)) percentiles of the pixels that are data; NaN for a channel without any."""

    def of(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(np.percentile(values, q) if values.size else np.full(len(q), np.nan), np.float64)

    return np.stack([of(values) for values in _by_channel(image, channels, nodata, mask)])


def means(
    image: Sampled, channels: tuple[int, ...], nodata: Nodata, mask: Sampled | None = None
) -> NDArray[np.float64]:
    """(C,) means of the pixels that are data; NaN for a channel without any."""
    found = _by_channel(image, channels, nodata, mask)
    return np.array([values.mean(dtype=np.float64) if values.size else np.nan for values in found])


def _by_channel(
    image: Sampled, channels: tuple[int, ...], nodata: Nodata, mask: Sampled | None
) -> Iterator[NDArray[Any]]:
    """The pixels of each channel that are data, of a coarse level or of some chunks."""
    # A mask of fewer levels says nothing of the others.
    count = len(image.levels) if mask is None else min(len(image.levels), len(mask.levels))
    levels: list[tuple[Sampled, Sampled | None]] = [
        (image.at_level(k), None if mask is None else mask.at_level(k)) for k in range(count)
    ]
    source, has = next((pair for pair in levels if _small(pair[0])), levels[-1])
    most = max(1, _MAX_PIXELS // prod(source.chunk))
    whole = Box.of_shape(source.shape)
    boxes = [whole] if _small(source) else list(BlockGrid(source.shape, source.chunk).spaced(most))
    for channel in channels:
        parts = []
        for box in boxes:
            pixels = source.read(box, (channel,))
            parts.append(_data(pixels if has is None else pixels[has.read(box) != 0], nodata))
        yield np.concatenate(parts)


def _small(image: Sampled) -> bool:
    return prod(image.shape) <= _MAX_PIXELS


def _data(pixels: NDArray[Any], nodata: Nodata) -> NDArray[Any]:
    flat = pixels.reshape(-1)
    if np.issubdtype(flat.dtype, np.floating):
        flat = flat[np.isfinite(flat)]
    return flat if nodata is None else flat[~is_missing(flat, nodata)]

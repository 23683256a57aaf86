"""An image at another pixel size, resampled as it is read: by areas where it shrinks, else linearly.

A pixel of the result follows from its place on the one lattice of the whole image and from the pixels under
it, term by term in one order; so boxes of any cut agree to the last bit.
"""

from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.store.image import Image
from unet_batch.store.layer import as_stored
from unet_batch.store.level import Level, Ratio
from unet_batch.store.nodata import Nodata, first_of, is_missing
from unet_batch.store.pixel_array import ComputedArray
from unet_batch.tiling import Box

_CHUNK = 512


def resampled(image: Image, ratio: Ratio, *, binary: bool = False) -> Image:
    """``image`` at its level with pixels ``ratio`` times as large along y and x; other axes stay.

    It takes the place of the level; coarser ones are gone. ``binary``: of a mask, 1 where at least half of a
    pixel is not 0.
    """
    shape = (*image.shape[:-2], *(length_of(n, r) for n, r in zip(image.shape[-2:], ratio, strict=True)))
    at = image.axes.find("c")
    whole = shape if at < 0 else (*shape[:at], image.channels, *shape[at:])
    chunk = [1 if axis not in "yx" else min(_CHUNK, n) for axis, n in zip(image.axes, whole, strict=True)]
    source = _Resampling(image, ratio, binary)
    array = ComputedArray(
        f"{image.array.path} times {ratio[0]!r} {ratio[1]!r}",
        whole,
        np.dtype(np.uint8) if binary else image.dtype,
        tuple(chunk),
        source.read,
        {**image.array.metadata, "resample": ratio},
    )
    own = image.levels[image.level]
    factor = (*own.factor[:-2], *(f * r for f, r in zip(own.factor[-2:], ratio, strict=True)))
    size = {axis: s * {"y": ratio[0], "x": ratio[1]}.get(axis, 1.0) for axis, s in image.pixel_size.items()}
    return replace(
        image,
        levels=(*image.levels[: image.level], Level(own.path, shape, factor)),
        arrays=(*image.arrays[: image.level], array),
        pixel_size=size,
        georef=None if image.georef is None else image.georef.scaled(*ratio),
        own={key: value for key, value in image.own.items() if key != "exact_levels"},
        view=replace(image.view, resample=ratio),
    )


def length_of(extent: int, ratio: float) -> int:
    """Pixels of the result along an axis of ``extent`` pixels: those of which at least half lies inside."""
    return max(1, floor(extent / ratio + 0.5))


@dataclass(frozen=True, slots=True)
class Taps:
    """Which source pixels make up each pixel of a line, and their shares: (taps, pixels)."""

    index: NDArray[np.int64]
    share: NDArray[np.float64]

    @classmethod
    def of(cls, start: int, stop: int, extent: int, ratio: float) -> "Taps":
        """Those of pixels ``start`` to ``stop`` of a line whose source has ``extent`` pixels."""
        number = np.arange(start, stop, dtype=np.float64)
        if ratio < 1:
            centre = (number + 0.5) * ratio - 0.5
            first = np.floor(centre).astype(np.int64)
            index, share = np.stack([first, first + 1]), np.stack([first + 1 - centre, centre - first])
        else:
            low, high = number * ratio, np.minimum((number + 1) * ratio, extent)
            index = np.floor(low).astype(np.int64) + np.arange(ceil(ratio) + 1)[:, np.newaxis]
            share = np.clip(np.minimum(high, index + 1) - np.maximum(low, index), 0, None) / (high - low)
        return cls(np.clip(index, 0, extent - 1), share)

    @property
    def span(self) -> tuple[int, int]:
        """The source pixels that are needed."""
        return int(self.index.min()), int(self.index.max()) + 1

    def sum(self, pixels: NDArray[Any], axis: int, first: int) -> NDArray[Any]:
        """``pixels``, of which the first along ``axis`` is number ``first``, weighed and added tap by tap."""
        across = (slice(None), *(np.newaxis,) * (pixels.ndim - axis - 1))
        total: Any = 0
        for index, share in zip(self.index - first, self.share.astype(pixels.dtype), strict=True):
            total = total + np.take(pixels, index, axis=axis) * share[across]
        return np.asarray(total)


@dataclass(frozen=True, slots=True)
class _Resampling:
    image: Image
    ratio: Ratio
    binary: bool

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of a box of the result, as stored."""
        image, at = self.image, self.image.axes.find("c")
        place = (
            box if at < 0 else Box(box.start[:at] + box.start[at + 1 :], box.stop[:at] + box.stop[at + 1 :])
        )
        channels = None if at < 0 else tuple(range(box.start[at], box.stop[at]))
        taps = [Taps.of(place.start[k], place.stop[k], image.shape[k], self.ratio[k]) for k in (-2, -1)]
        (top, bottom), (left, right) = taps[0].span, taps[1].span
        seen = Box((*place.start[:-2], top, left), (*place.stop[:-2], bottom, right))
        pixels = image.read(seen, channels)
        found = self._weighed(pixels != 0 if self.binary else pixels, taps, (top, left))
        return as_stored(found, image.axes)

    def _weighed(self, pixels: NDArray[Any], taps: list[Taps], first: tuple[int, int]) -> NDArray[Any]:
        wide = np.float64 if pixels.dtype.itemsize > 2 and pixels.dtype != np.float32 else np.float32

        def total(values: NDArray[Any]) -> NDArray[Any]:
            rows = taps[0].sum(values.astype(wide), values.ndim - 2, first[0])
            return taps[1].sum(rows, rows.ndim - 1, first[1])

        if self.binary:
            return (total(pixels) >= 0.5).astype(np.uint8)
        nodata = self.image.nodata
        if nodata is None:
            return _rounded(total(pixels), pixels.dtype)
        missing = is_missing(pixels, nodata)
        has = ~missing.all(axis=0, keepdims=True)
        # A channel that alone holds the value of missing data is data, but for NaN, which no mean can have.
        usable = has & ~np.isnan(pixels) if pixels.dtype.kind == "f" else np.broadcast_to(has, pixels.shape)
        if usable.all():
            return _kept_apart(_rounded(total(pixels), pixels.dtype), nodata, None)
        weight = total(usable)
        mean = total(np.where(usable, pixels, 0)) / np.where(weight > 0, weight, 1)
        enough = (total(has) >= 0.5) & (weight > 0)
        return _kept_apart(_rounded(mean, pixels.dtype), nodata, enough)


def _rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """In the type of the pixels; integers half up."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.floor(values + 0.5), limits.min, limits.max).astype(dtype)


def _kept_apart(values: NDArray[Any], nodata: Nodata, enough: NDArray[np.bool_] | None) -> NDArray[Any]:
    """Missing pixels as ``nodata`` has them, and no others: means of data move by one."""
    clash = is_missing(values, nodata).all(axis=0)
    if clash.any():
        if values.dtype.kind == "f":
            near = np.nextafter(values, np.float64(np.inf).astype(values.dtype))
        else:
            near = np.where(values == np.iinfo(values.dtype).max, values - 1, values + 1)
        values = np.where(clash, near.astype(values.dtype), values)
    if enough is None:
        return values
    fill = np.asarray(first_of(nodata)).astype(values.dtype)
    return np.where(enough, values, fill)

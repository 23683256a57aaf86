"""Foreground: which pixels of a block are worth computing, decided before any network work."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_batch.prediction.config import SkipBackground
from unet_batch.prediction.nodata import NoData
from unet_batch.prediction.plan import Plan
from unet_batch.store.image import Image
from unet_batch.tiling import Box


@dataclass(frozen=True, slots=True)
class Foreground:
    """The tests of a plan on an image: region of interest, no data, background."""

    plan: Plan
    image: Image
    nodata: NoData

    @classmethod
    def open(cls, plan: Plan, image: Image) -> "Foreground":
        """The tests, with the no-data mask opened and checked.

        Raises:
            InputError: a mask of another shape than the image.
        """
        return cls(plan, image, NoData.open(plan, image))

    def is_background(self, region: Box) -> bool:
        """Whether ``region`` has no data, or no pixel of it passes the plan's foreground test."""
        if self.nodata.is_empty(region):
            return True
        test = self.plan.select.skip_background
        if test is None or test == "tissue":  # of which the driver has left out the blocks without any
            return False
        coarse, stride = _level_for(self.image, test.pixels)
        factor = coarse.levels[coarse.level].factor
        base = self.image.levels[self.image.level].factor
        ratio = tuple(max(1, round(f / b)) for f, b in zip(factor, base, strict=True))
        box = region.scale_down(ratio).intersect(Box.of_shape(coarse.shape))
        steps = (slice(None), *(slice(None, None, s) for s in stride))
        pixels = coarse.read(box, self.plan.image.channels)[steps].astype(np.float32)
        return not bool((_measure(pixels, test) > test.threshold).any())

    def valid(self, region: Box, has: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        """Which pixels of ``region`` count, of those that it ``has``; None where all do."""
        masks = [m for m in (self._in_roi(region), has) if m is not None and not m.all()]
        return np.logical_and.reduce(masks) if masks else None

    def _in_roi(self, region: Box) -> NDArray[np.bool_] | None:
        inside = region.intersect(self.plan.region)
        if inside == region:
            return None
        mask = np.zeros(region.shape, np.bool_)
        mask[inside.relative_to(region.start).slices] = True
        return mask


def _level_for(image: Image, pixels: int) -> tuple[Image, tuple[int, ...]]:
    """The coarsest level that still has a pixel for every ``pixels``, and the stride that is left."""
    base = image.levels[image.level].factor
    best, scale = image.level, 1.0
    for number, level in enumerate(image.levels):
        ratio = max(f / b for f, b in zip(level.factor, base, strict=True))
        if scale < ratio <= pixels:
            best, scale = number, ratio
    left = max(1, int(pixels / scale))
    strides = tuple(left if n > left else 1 for n in image.shape)
    return image.at_level(best), strides


def _measure(pixels_CS: NDArray[np.float32], test: SkipBackground) -> NDArray[np.float32]:
    if test.method == "saturation":
        high, low = pixels_CS.max(axis=0), pixels_CS.min(axis=0)
        return np.asarray(np.divide(high - low, high, out=np.zeros_like(high), where=high > 0))
    grey = pixels_CS.mean(axis=0)
    rows, columns = (max(1, n // 4) for n in grey.shape[-2:])
    return np.stack(
        [
            cell.var(axis=(-2, -1))
            for row in np.array_split(grey, rows, axis=-2)
            for cell in np.array_split(row, columns, axis=-1)
        ]
    )

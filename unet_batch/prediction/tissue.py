"""Tissue: where a stained slide has any, found on a coarse level without a threshold to give.

Otsu's thresholds on saturation and on optical density, whichever says tissue; pen marks and dark rims told
apart; small holes filled, specks dropped, and a rim added, so that no nucleus at an edge is lost.
"""

from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.extras import require
from unet_batch.store.image import Image
from unet_batch.tiling import BlockGrid, Box

_MOST_PIXELS = 2**22  # of the level that is looked at, where there is a coarser one
_TOO_MANY = 2**27
_SPECK, _HOLE, _RIM = 16, 64, 2  # coarse pixels
# Otsu divides also what is all tissue or all glass: thresholds stay where they tell the two apart.
_SATURATION = 0.04, 0.12
_DENSITY = 0.04, 0.12
_DARK = 0.2


@dataclass(frozen=True, slots=True)
class Tissue:
    """Where tissue is: ``mask`` has a pixel for ``factor`` pixels of the image, along y and x."""

    mask: NDArray[np.bool_]
    factor: tuple[float, float]

    @classmethod
    def of(cls, image: Image, channels: tuple[int, ...]) -> "Tissue":
        """The tissue of an image at its level.

        Raises:
            InputError: no picture in red, green and blue, several planes, or no coarse level of a huge image.
        """
        require("skimage", "train", "`skip_background: tissue`")
        if len(channels) != 3 or image.dtype != np.uint8 or prod(image.shape[:-2]) != 1:
            raise InputError(
                f"{image.path}: tissue is found in 8-bit red, green and blue only; set skip_background.method"
            )
        coarse = _coarse(image)
        pixels = coarse.read(Box.of_shape(coarse.shape), channels)
        factor = tuple(n / m for n, m in zip(image.shape[-2:], coarse.shape[-2:], strict=True))
        return cls(tissue_of(pixels.reshape(3, *coarse.shape[-2:])), (factor[0], factor[1]))

    @property
    def share(self) -> float:
        """Of the image."""
        return float(self.mask.mean())

    def without(self, blocks: BlockGrid) -> NDArray[np.bool_]:
        """Blocks that hold none, in the grid's shape."""
        rows, columns = (
            [self._span(axis, k * blocks.block[axis - 2], blocks.block[axis - 2]) for k in range(n)]
            for axis, n in zip((0, 1), blocks.counts[-2:], strict=True)
        )
        empty = [[not self.mask[row, column].any() for column in columns] for row in rows]
        return np.broadcast_to(np.array(empty), blocks.counts)

    def _span(self, axis: int, start: int, extent: int) -> slice:
        factor = self.factor[axis]
        first = int(start / factor)
        return slice(first, max(first + 1, ceil((start + extent) / factor)))


def tissue_of(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where (3, h, w) shows tissue."""
    from scipy import ndimage  # noqa: PLC0415 - an optional package
    from skimage import morphology  # noqa: PLC0415 - an optional package

    red, green, blue = light = (rgb.astype(np.float32) + 1) / 256
    high, low = light.max(axis=0), light.min(axis=0)
    saturation, density = (high - low) / high, -np.log10(light).mean(axis=0)
    found = (saturation > _threshold(saturation, _SATURATION)) | (density > _threshold(density, _DENSITY))
    pen = (blue > 2.2 * red) | ((green > 1.15 * red) & (green > 1.15 * blue))
    rim = (high < _DARK) & (high - low < _DARK / 4)
    found &= ~ndimage.binary_dilation(pen & (saturation > 0.3), iterations=1) & ~rim
    found = morphology.remove_small_objects(found, max_size=_SPECK)
    found = morphology.remove_small_holes(found, max_size=_HOLE)
    return np.asarray(ndimage.binary_dilation(found, iterations=_RIM), np.bool_)


def _threshold(values: NDArray[Any], limits: tuple[float, float]) -> float:
    from skimage import filters  # noqa: PLC0415 - an optional package

    otsu: Any = filters.threshold_otsu
    return float(np.clip(otsu(values), *limits))


def _coarse(image: Image) -> Image:
    levels = [image.at_level(k) for k in range(image.level, len(image.levels))]
    found = next((one for one in levels if prod(one.shape) <= _MOST_PIXELS), levels[-1])
    if prod(found.shape) > _TOO_MANY:
        raise InputError(f"{image.path}: has no coarse level to find tissue on; `unet-batch ingest` it first")
    return found

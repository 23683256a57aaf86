"""Painting: the annotations of one block as class numbers. Pixels are filled by GDAL's rasteriser."""

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unet_batch.formats.projection import rasterio_for
from unet_batch.store.masks_layout import MasksLayout
from unet_batch.tiling.box import Box

if TYPE_CHECKING:
    from unet_batch.ingestion.annotations.drawing import Drawing, Shapes

# rasterio silences a warning about its own working raster by `warnings.catch_warnings`, which is not for
# threads: of 20,000 calls on four threads five still warned.
_RASTERISER = threading.Lock()


@dataclass(frozen=True, slots=True)
class Painter:
    """Paints blocks of labels.

    Attributes:
        drawing: what is painted.
        layout: of the labels; the last two axes are y and x.
        ground: number of pixels that nothing covers.
        all_touched: whether a pixel is painted that a shape only touches.
        all_planes: whether shapes that name no plane go to all, or to the first.
    """

    drawing: "Drawing"
    layout: MasksLayout
    ground: int
    all_touched: bool
    all_planes: bool

    def __call__(self, box: Box) -> NDArray[np.uint8 | np.uint16]:
        """(1, *box.shape)."""
        (top, left), (bottom, right) = box.start[-2:], box.stop[-2:]
        shapes = self.drawing.within(left, top, right, bottom)
        labels = np.full((1, *box.shape), self.ground, self.layout.dtype)
        for outer in np.ndindex(box.shape[:-2]):
            here = self._of_plane(shapes, tuple(a + i for a, i in zip(box.start, outer, strict=False)))
            if len(here.numbers):
                labels[(0, *outer)] = self._plane(here, box)
        return labels

    def _of_plane(self, shapes: "Shapes", outer: tuple[int, ...]) -> "Shapes":
        at = dict(zip(self.layout.axes, outer, strict=False))
        keep = np.ones(len(shapes.numbers), np.bool_)
        for axis, said in zip("tz", shapes.planes.T, strict=True):
            if axis in at:
                unsaid = (said < 0) & (self.all_planes or at[axis] == 0)
                keep &= unsaid | (said == at[axis])
        return shapes.chosen(np.flatnonzero(keep))

    def _plane(self, shapes: "Shapes", box: Box) -> NDArray[np.uint8 | np.uint16]:
        rasterio_for("painting annotations")
        from rasterio.features import rasterize  # noqa: PLC0415 - an optional package
        from rasterio.transform import Affine  # noqa: PLC0415

        (top, left), (height, width) = box.start[-2:], box.shape[-2:]
        with _RASTERISER:
            painted = rasterize(
                zip(shapes.shapes.tolist(), shapes.numbers.tolist(), strict=True),
                out_shape=(height, width),
                fill=self.ground,
                transform=Affine.translation(left, top),
                all_touched=self.all_touched,
                dtype=self.layout.dtype,
            )
        return np.asarray(painted)

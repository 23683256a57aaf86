"""Regions: the connected areas of one class in one block, read with a rim of one pixel. Traces nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.extras import needed
from unet_batch.products.export.view import View
from unet_batch.tiling.box import Box

OUTSIDE, OTHER = -2, -1
"""Past the image's edge; classes that are not asked for and pixels without data."""

Labels = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which values of which channel become polygons, of what class: ``classes[value]``, or OTHER.

    Without ``classes`` values are numbers of objects, each a class of its own, and 0 is none.
    """

    channel: int
    classes: tuple[int, ...] | None

    def classes_of(self, values: NDArray[np.generic], fill: int) -> Labels:
        """The class of every pixel."""
        if self.classes is None:
            numbers = values.view(np.int32)
            if numbers.min(initial=0) < 0:
                raise InputError(f"more than {2**31 - 1:,} objects have no polygons; choose fewer")
            return np.where(numbers == 0, OTHER, numbers)
        table = np.full(fill + 1, OTHER, np.int32)
        table[: len(self.classes)] = self.classes
        return np.asarray(table[values], np.int32)


@dataclass(frozen=True, slots=True)
class Regions:
    """The regions of a block.

    Args:
        box: the block.
        classes: (h + 2, w + 2) class of every pixel and of a rim around them.
        labels: (h, w) number of the region, from 1 on, connected by sides; 0 where no region was asked for.
        confidence: (h, w) value / 254 and 255 for none, or None.
    """

    box: Box
    classes: Labels
    labels: Labels
    confidence: NDArray[np.uint8] | None

    @classmethod
    def read(cls, view: View, selection: Selection, box: Box, *, everything: bool = False) -> "Regions":
        """The regions in ``box``; with ``everything`` what is not asked for makes regions, too."""
        with needed("products", "the export of polygons"):
            import cc3d  # noqa: PLC0415 - an extra

        classes = _with_rim(view, selection, box)
        inside = classes[1:-1, 1:-1] - (OUTSIDE if everything else OTHER)
        labels = cc3d.connected_components(np.ascontiguousarray(inside), connectivity=4, out_dtype=np.uint32)
        confidence = None
        if "confidence" in view.masks.layers:
            confidence = view.read(box, layer="confidence")[0]
        return cls(box, classes, np.asarray(labels, np.int32), confidence)

    @property
    def count(self) -> int:
        """How many regions there are."""
        return int(self.labels.max(initial=0))

    def class_of(self) -> Labels:
        """(count,) the class of each region."""
        found = np.full(self.count + 1, OTHER, np.int32)
        found[self.labels] = self.classes[1:-1, 1:-1]
        return found[1:]

    def confidence_sums(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(count,) sum of the confidence and number of the pixels that have one, by region."""
        if self.confidence is None:
            none = np.zeros(self.count, np.int64)
            return none, none
        known = self.confidence != 255
        labels = self.labels[known]
        size = self.count + 1
        sums = np.bincount(labels, self.confidence[known], size).round().astype(np.int64)
        return sums[1:], np.bincount(labels, minlength=size)[1:]


def _with_rim(view: View, selection: Selection, box: Box) -> Labels:
    grown = box.grow((1, 1), (1, 1))
    inside = grown.intersect(Box.of_shape(view.shape))
    values = view.read(inside)[selection.channel]
    found = np.full(grown.shape, OUTSIDE, np.int32)
    found[inside.relative_to(grown.start).slices] = selection.classes_of(values, int(view.fill))
    return found

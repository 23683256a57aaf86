"""Trace: the regions of one class in a block, and their outlines along the edges of its pixels, exactly.

Around a vertex lie four pixels, and up to four edges leave it; each edge has its own pixel on its right::

      NW | NE          E runs along the top of SE, S along the right of SW,
      ---+---          W along the bottom of NW, N along the left of NE
      SW | SE

Vertices are kept where an outline turns, and where three or four edges meet: so neighbours share all of
their vertices, and what is done to a shared line can be done to both sides of it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.extras import needed
from unet_batch.products.export.vector.rings import Ints, Rings, cycles
from unet_batch.products.export.view import View
from unet_batch.tiling import Box

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


EAST, SOUTH, WEST, NORTH = range(4)
Pixels = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Around:
    """The four pixels around vertices, as the pixel right of the edge that leaves each vertex E, S, W, N."""

    right: tuple[Pixels, Pixels, Pixels, Pixels]

    @classmethod
    def of(cls, padded: Pixels, positions: Ints) -> "Around":
        """Of the vertices at flat ``positions`` among the (h + 1, w + 1) of a block of pixels with a rim."""
        width = padded.shape[1]
        flat, northwest = padded.reshape(-1), positions + positions // (width - 1)
        southeast, southwest, northeast = (flat[northwest + offset] for offset in (width + 1, width, 1))
        return cls((southeast, southwest, flat[northwest], northeast))

    def left(self, direction: int) -> Pixels:
        """The pixel left of the edge that leaves in ``direction``."""
        return self.right[(direction - 1) % 4]

    def edge(self, direction: int) -> NDArray[np.bool_]:
        """Whether the pixels on both sides of that edge differ."""
        return np.asarray(self.right[direction] != self.left(direction))

    def corners(self) -> NDArray[np.bool_]:
        """Where an outline turns, or three or four edges meet."""
        east, south, west, north = (self.edge(direction) for direction in range(4))
        return _corners(east, south, west, north)

    def turns(self) -> NDArray[np.int64]:
        """(V, 4) direction in which the outline goes on that arrives heading E, S, W or N.

        Where its own region also lies ahead to the left, across the vertex, the outline takes that side.
        """
        onward = np.empty((len(self.right[EAST]), 4), np.int64)
        for heading in range(4):
            own = self.right[(heading + 1) % 4]
            onward[:, heading] = (heading + 1) % 4
            onward[own == self.right[heading], heading] = heading
            onward[own == self.left(heading), heading] = (heading - 1) % 4
        return onward


def trace(labels: Pixels, classes: Pixels) -> Rings:
    """All rings of the regions numbered 1, 2, ... in a block; owners are the numbers less one.

    Args:
        labels: (h, w), each region connected by its pixels' sides; 0 is traced by nobody.
        classes: (h + 2, w + 2) what the regions are regions of, and a rim: where outlines beyond the block
            meet its edge, vertices are kept.
    """
    padded = np.pad(labels, 1)
    positions = _kept(padded, classes)
    here = Around.of(padded, positions)
    y, x = np.divmod(positions, labels.shape[1] + 1)
    owners = np.stack([pixels * here.edge(d) for d, pixels in enumerate(here.right)], axis=1)
    ahead, turns = _next_kept(x), here.turns()
    for heading in range(4):  # the edge that follows each, 4 to a vertex
        ahead[:, heading] = 4 * ahead[:, heading] + turns[ahead[:, heading], heading]
    order, offsets = cycles(ahead.reshape(-1), np.flatnonzero(owners))
    vertex = order // 4
    return Rings(
        np.column_stack((x[vertex], y[vertex])),
        offsets,
        owners.reshape(-1)[order[offsets[:-1]]].astype(np.int64) - 1,
    )


def _kept(padded: Pixels, classes: Pixels) -> Ints:
    """Flat positions of the vertices that rings are made of."""
    across, down = padded[:, 1:] != padded[:, :-1], padded[1:] != padded[:-1]
    kept = _corners(down[:, 1:], across[1:], down[:, :-1], across[:-1])
    rim = np.zeros_like(kept)
    rim[[0, -1]] = rim[:, [0, -1]] = True
    edge = np.flatnonzero(rim)
    outlined = Around.of(padded, edge)
    touched = np.logical_or.reduce([outlined.edge(direction) for direction in range(4)])
    kept.reshape(-1)[edge] |= touched & Around.of(classes, edge).corners()
    return np.flatnonzero(kept)


def _corners(
    east: NDArray[np.bool_], south: NDArray[np.bool_], west: NDArray[np.bool_], north: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    return (north ^ south) | (west ^ east) | (north & west)


def _next_kept(x: Ints) -> Ints:
    """(V, 4) the kept vertex that an edge leaving each one E, S, W or N arrives at, in raster order.

    Between two kept vertices an outline runs straight, so the next on the same line is where it arrives.
    """
    count = len(x)
    ahead = np.zeros((count, 4), np.int64)
    ahead[:-1, EAST] = np.arange(1, count)
    ahead[1:, WEST] = np.arange(count - 1)
    by_column = np.argsort(x, kind="stable")
    ahead[by_column[:-1], SOUTH] = by_column[1:]
    ahead[by_column[1:], NORTH] = by_column[:-1]
    return ahead

"""One block's polygons: those that end in it, finished, and the fragments of those that do not."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_batch.extras import needed
from unet_batch.products.export.vector.features import Facts, Features, no_features
from unet_batch.products.export.vector.fragments import Fragments, Frame, cut, no_fragments
from unet_batch.products.export.vector.regions import OTHER, OUTSIDE, Regions
from unet_batch.products.export.vector.rings import Ints, Rings
from unet_batch.products.export.vector.shapes import simplified
from unet_batch.products.export.vector.trace import trace


@dataclass(frozen=True, slots=True)
class Tracing:
    """How blocks are traced.

    Args:
        width: of the image.
        connectivity: 4, or 8 for regions that touch by a corner to be one feature.
        tolerance: of the simplification, in pixels; 0 keeps every corner.
    """

    width: int
    connectivity: int = 4
    tolerance: float = 0.0

    def __call__(self, regions: Regions, rows: NDArray[np.float64]) -> tuple[Features, Fragments]:
        """Finished features and fragments, in coordinates of the image; ``rows``: the weight above each row.

        ``regions`` were read with ``everything`` where there is a tolerance.
        """
        if not regions.count:
            return no_features(), no_fragments(regions.labels.shape)
        rings = trace(regions.labels, regions.classes)
        facts = _facts(regions, rings, rows)
        if self.tolerance:
            rings = simplified(rings, self.tolerance)
        wanted = facts.classes != OTHER
        feature = self._features(regions)
        unfinished = np.isin(feature, feature[_unfinished(regions, self.connectivity)]) & wanted
        frame = Frame(regions.classes, (regions.box.start[0], regions.box.start[1]), self.width)
        finished = _of(rings, wanted & ~unfinished)
        whole = _features(frame.shifted(finished), facts, feature, wanted & ~unfinished)
        return whole, _fragments(_of(rings, unfinished), facts, feature, unfinished, regions, frame)

    def _features(self, regions: Regions) -> Ints:
        """(count,) the feature that each region belongs to, counted from 0 in this block."""
        if self.connectivity == 4:
            return np.arange(regions.count)
        with needed("products", "the export of polygons"):
            import cc3d  # noqa: PLC0415 - an extra

        classes = np.ascontiguousarray(regions.classes[1:-1, 1:-1]) - OUTSIDE
        wide = cc3d.connected_components(classes, connectivity=8, out_dtype=np.uint32)
        found = np.zeros(regions.count + 1, np.int64)
        found[regions.labels] = wide
        return found[1:]


def _facts(regions: Regions, rings: Rings, rows: NDArray[np.float64]) -> Facts:
    weight = np.bincount(rings.owner, rings.weighted_areas(rows), regions.count)
    classes = regions.class_of().astype(np.int64)
    return Facts(classes, weight.astype(np.float64), *regions.confidence_sums())


def _unfinished(regions: Regions, connectivity: int) -> NDArray[np.bool_]:
    """(count,) which regions have a neighbour of their class beyond the block's edge."""
    classes = regions.classes
    found = np.zeros(regions.count + 1, np.bool_)
    for turn in range(4):
        own, beyond = np.rot90(classes, turn)[1, 1:-1], np.rot90(classes, turn)[0]
        same = own == beyond[1:-1]
        if connectivity == 8:
            same |= (own == beyond[:-2]) | (own == beyond[2:])
        found[np.rot90(regions.labels, turn)[0][same]] = True
    return found[1:]


def _of(rings: Rings, chosen: NDArray[np.bool_]) -> Rings:
    """The rings of the regions marked, numbered anew."""
    number = np.cumsum(chosen) - 1
    taken = rings.take(np.flatnonzero(chosen[rings.owner]))
    return Rings(taken.xy, taken.offsets, number[taken.owner])


def _features(rings: Rings, facts: Facts, feature: Ints, chosen: NDArray[np.bool_]) -> Features:
    names, number = np.unique(feature[chosen], return_inverse=True)
    return Features.of(rings, number, facts.take(chosen).summed(number, len(names)))


def _fragments(
    rings: Rings, facts: Facts, feature: Ints, chosen: NDArray[np.bool_], regions: Regions, frame: Frame
) -> Fragments:
    number = np.full(len(chosen) + 1, -1, np.int64)
    number[1:][chosen] = np.arange(np.count_nonzero(chosen))
    inside = number[regions.labels]
    sides = {"top": inside[0], "bottom": inside[-1], "left": inside[:, 0], "right": inside[:, -1]}
    names, local = np.unique(feature[chosen], return_inverse=True)
    del names
    closed, chains = cut(rings, frame)
    return Fragments(facts.take(chosen), local, closed, chains, {k: v.copy() for k, v in sides.items()})

"""Features: finished polygons on the pixel grid, what is known of each, and their shapes in GEOS."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.extras import needed
from unet_batch.products.export.vector.rings import Ints, Rings, joined, ragged

Geometries = NDArray[Any]


def outer_first(rings: Rings) -> Rings:
    """The rings by owner, of each the outer ring before its holes."""
    return rings.take(np.lexsort((rings.doubled_areas() < 0, rings.owner)))


def polygons(rings: Rings, xy: NDArray[np.float64] | None = None) -> Geometries:
    """A polygon for each owner 0, 1, ...; rings as ``outer_first`` gives them; ``xy`` in place of theirs."""
    with needed("products", "the export of polygons"):
        import shapely  # noqa: PLC0415 - an extra

    index, offsets = _closed(rings)
    owners = np.searchsorted(rings.owner, np.arange(rings.owner.max(initial=-1) + 2))
    vertices = rings.xy.astype(np.float64) if xy is None else xy
    kind = shapely.GeometryType.POLYGON
    made: Geometries = shapely.from_ragged_array(kind, vertices[index], (offsets, owners))
    return made


def multipolygons(parts: Geometries, feature: Ints) -> Geometries:
    """Polygons of one feature each as one geometry; ``feature`` numbers 0, 1, ... in rising order."""
    with needed("products", "the export of polygons"):
        import shapely  # noqa: PLC0415 - an extra

    made: Geometries = shapely.multipolygons(parts, indices=feature)
    return made


def simplified(rings: Rings, tolerance: float) -> Rings:
    """Rings that cover a block without a gap, with fewer vertices, still without a gap or an overlap.

    What bounds a single region, so the block's own edge, is left alone. The vertices kept are old ones
    (Visvalingam and Whyatt 1993: those whose triangle is largest).
    """
    with needed("products", "the simplification of polygons"):
        import shapely  # noqa: PLC0415 - an extra

    if not len(rings):
        return rings
    cover = polygons(outer_first(rings))
    _, xy, (offsets, owners) = shapely.to_ragged_array(
        shapely.coverage_simplify(cover, tolerance, simplify_boundary=False)
    )
    starts, lengths = offsets[:-1].astype(np.int64), np.diff(offsets).astype(np.int64) - 1
    index, opened = ragged(starts, lengths)
    owner = np.repeat(np.arange(len(owners) - 1), np.diff(owners))
    found = Rings(np.rint(xy[index]).astype(np.int64), opened, owner)
    outer = np.zeros(len(found), np.bool_)
    outer[owners[:-1]] = True
    return _turned(found, outer)


def _turned(rings: Rings, outer: NDArray[np.bool_]) -> Rings:
    """The rings with outer ones of positive area and holes of negative."""
    wrong = (rings.doubled_areas() > 0) != outer
    if not wrong.any():
        return rings
    ring = np.repeat(np.arange(len(rings)), rings.lengths)
    at = np.arange(len(rings.xy))
    mirrored = rings.offsets[ring] + rings.offsets[ring + 1] - 1 - at
    return Rings(rings.xy[np.where(wrong[ring], mirrored, at)], rings.offsets, rings.owner)


def _closed(rings: Rings) -> tuple[Ints, Ints]:
    """Positions of the vertices with the first of each ring again at its end, and the rings' offsets."""
    index, offsets = ragged(rings.offsets[:-1], rings.lengths + 1)
    index[offsets[1:] - 1] = rings.offsets[:-1]
    return index, offsets


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of regions; sums over their pixels, so facts of a region's parts add up.

    Args:
        classes: number of the class.
        weight: area by the scale at hand.
        confidence: sum of the confidence (0 to 254) over the pixels that have one.
        confident: number of those pixels.
    """

    classes: Ints
    weight: NDArray[np.float64]
    confidence: Ints
    confident: Ints

    def take(self, chosen: Ints | NDArray[np.bool_]) -> "Facts":
        """The facts of some of them."""
        return Facts(*(column[chosen] for column in self.columns()))

    def summed(self, group: Ints, count: int) -> "Facts":
        """Facts of ``count`` groups, to which ``group`` assigns each; a group has one class."""
        classes = np.zeros(count, np.int64)
        classes[group] = self.classes
        weight, *others = (np.bincount(group, column, count) for column in self.columns()[1:])
        confidence, confident = (one.astype(np.int64) for one in others)
        return Facts(classes, weight.astype(np.float64), confidence, confident)

    def columns(self) -> tuple[NDArray[Any], ...]:
        """The columns, in order."""
        return self.classes, self.weight, self.confidence, self.confident

    def mean_confidence(self) -> NDArray[np.float64]:
        """Mean confidence, 0 to 1; NaN where no pixel has one."""
        known = np.maximum(self.confident, 1)
        return np.where(self.confident > 0, self.confidence / (254.0 * known), np.nan)


@dataclass(frozen=True, slots=True)
class Features:
    """Finished polygons.

    Args:
        rings: whose owners are parts 0, 1, ...; of each the outer ring first.
        feature: (parts,) number of the feature of each part, rising.
        facts: one of each feature.
    """

    rings: Rings
    feature: Ints
    facts: Facts

    @classmethod
    def of(cls, rings: Rings, feature: Ints, facts: Facts) -> "Features":
        """Of rings in any order, whose owners are parts in any order; ``feature`` is that of each part."""
        order = np.argsort(feature, kind="stable")
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        owned = Rings(rings.xy, rings.offsets, place[rings.owner])
        return cls(outer_first(owned), feature[order], facts)

    def __len__(self) -> int:
        return len(self.facts.classes)

    def take(self, chosen: NDArray[np.bool_]) -> "Features":
        """The features marked."""
        number, parts = np.cumsum(chosen) - 1, chosen[self.feature]
        part = np.cumsum(parts) - 1
        rings = self.rings.take(np.flatnonzero(parts[self.rings.owner]))
        rings = Rings(rings.xy, rings.offsets, part[rings.owner])
        return Features(rings, number[self.feature[parts]], self.facts.take(chosen))

    def geometries(self, xy: NDArray[np.float64], *, multi: bool) -> Geometries:
        """A polygon, or with ``multi`` a multipolygon, for each, of vertices ``xy`` in place of their own."""
        parts = polygons(self.rings, xy)
        return multipolygons(parts, self.feature) if multi else parts


def no_facts() -> Facts:
    """Of no regions."""
    none = np.empty(0, np.int64)
    return Facts(none, none.astype(np.float64), none, none)


def no_features() -> Features:
    """None at all."""
    return Features(joined([]), np.empty(0, np.int64), no_facts())

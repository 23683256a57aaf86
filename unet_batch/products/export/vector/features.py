"""Features: finished polygons on the pixel grid with what is known of each. Knows no map, no file format."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.products.export.vector.rings import Ints, Rings, joined
from unet_batch.products.export.vector.shapes import Geometries, multipolygons, outer_first, polygons


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

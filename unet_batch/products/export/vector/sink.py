"""Sink: a file format for polygons. Blocks are encoded where they are made, and joined by the driver."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unet_batch.extras import needed
from unet_batch.products.export.measure import Measure, Place
from unet_batch.products.export.vector.features import Features
from unet_batch.products.export.vector.objects import ObjectTable


class Sink(Protocol):
    """What a polygon format can do. Must be picklable."""

    def encode(self, features: Features) -> bytes:
        """Features as bytes of the format's own; never none."""

    def join(self, path: Path, pieces: Iterator[bytes]) -> int:
        """Write all that was encoded to ``path``, which does not exist; how many features there are."""


@dataclass(frozen=True, slots=True)
class Legend:
    """What the numbers of features mean, and which are written.

    Args:
        names: of the classes, by number.
        colours: of the classes.
        measure: the unit of their weights.
        place: where they lie.
        min_area: smaller features are left out, in units of the measure.
        objects: what is known of each, where a number is that of an object and not of a class.
        multi: whether a feature may have several parts.
        confidence: whether the mask has it.
    """

    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int, int], ...]
    measure: Measure
    place: Place
    min_area: float = 0.0
    objects: ObjectTable | None = None
    multi: bool = False
    confidence: bool = False

    @property
    def area_name(self) -> str:
        """Name of the attribute with the area."""
        return f"area_{self.measure.unit}"

    def wanted(self, features: Features) -> Features:
        """The features that are written."""
        if self.objects is not None:
            features = features.take(self.objects.wanted(features.facts.classes))
        if self.min_area <= 0:
            return features
        return features.take(features.facts.weight * self.measure.factor >= self.min_area)

    def geometries(self, features: Features) -> NDArray[Any]:
        """Polygons in the output's coordinates, outer rings counterclockwise."""
        with needed("products", "the export of polygons"):
            import shapely  # noqa: PLC0415 - an extra

        made = features.geometries(self.place(features.rings.xy), multi=self.multi)
        turned: NDArray[Any] = shapely.orient_polygons(made)
        return turned

    def columns(self, features: Features) -> dict[str, NDArray[Any]]:
        """Attributes of features by name."""
        facts = features.facts
        area = facts.weight * self.measure.factor
        if self.objects is not None:
            return {**self.objects.columns(facts.classes), self.area_name: area}
        found: dict[str, NDArray[Any]] = {
            "class": np.asarray(self.names, object)[facts.classes],
            "class_number": facts.classes.astype(np.int32),
            self.area_name: area,
        }
        if self.confidence:
            found["confidence"] = facts.mean_confidence()
        return found

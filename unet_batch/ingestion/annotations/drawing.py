"""Drawing: annotations as pixels of one image, found by block; from memory, or from a file with an index."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from unet_batch.ingestion.annotations.config import AnnotationsConfig
from unet_batch.ingestion.annotations.features import Features
from unet_batch.ingestion.annotations.naming import LEFT_OUT, Naming
from unet_batch.ingestion.annotations.place import Place
from unet_batch.ingestion.annotations.vector import VectorLayer

# Below this a circle may miss every pixel centre.
_SMALLEST_RADIUS = 0.75


@dataclass(frozen=True, slots=True)
class Shapes:
    """What is to be painted, what lies beneath first.

    Attributes:
        shapes: in columns and rows.
        numbers: of their classes.
        planes: (n, 2) place along t and z; -1 where it is not said.
    """

    shapes: NDArray[np.object_]
    numbers: NDArray[np.int64]
    planes: NDArray[np.int64]

    def chosen(self, which: NDArray[np.int64]) -> "Shapes":
        """Some of them, in the order of ``which``."""
        return Shapes(self.shapes[which], self.numbers[which], self.planes[which])


class Drawing(Protocol):
    """All annotations of an image."""

    def within(self, left: int, top: int, right: int, bottom: int) -> Shapes:
        """Those that may meet a box of pixels."""
        ...


@dataclass(frozen=True, slots=True)
class Painted:
    """How features become shapes."""

    place: Place
    naming: Naming
    config: AnnotationsConfig

    def shapes(self, features: Features) -> Shapes:
        """In pixels, points and lines as areas, in the order of painting."""
        numbers = self.naming.numbers(features.names)
        kept = np.flatnonzero((numbers != LEFT_OUT) & ~shapely.is_empty(features.shapes))
        if self.config.order == "classes":
            kept = kept[np.argsort(numbers[kept], kind="stable")]
        if self.config.instances:
            numbers[kept] = np.arange(1, len(kept) + 1)
        areas = self._areas(self.place.to_pixels(features.shapes[kept]))
        return Shapes(areas, numbers[kept], features.planes[kept])

    @property
    def reach(self) -> float:
        """Pixels by which shapes outgrow their features."""
        return max(self.config.point_radius, self.config.line_width / 2)

    def _areas(self, shapes: NDArray[np.object_]) -> NDArray[np.object_]:
        dimensions, shapes = shapely.get_dimensions(shapes), shapes.copy()
        for dimension, radius in ((0, self.config.point_radius), (1, self.config.line_width / 2)):
            which = dimensions == dimension
            if radius and which.any():
                shapes[which] = shapely.buffer(shapes[which], max(radius, _SMALLEST_RADIUS))
        return shapes


class InMemory:
    """A Drawing of features that are all at hand, found through a tree."""

    def __init__(self, features: Features, painted: Painted) -> None:
        self.shapes = painted.shapes(features)
        self.tree = shapely.STRtree(self.shapes.shapes)

    def within(self, left: int, top: int, right: int, bottom: int) -> Shapes:
        """Those whose hulls meet a box of pixels."""
        return self.shapes.chosen(np.sort(self.tree.query(shapely.box(left, top, right, bottom))))


@dataclass(frozen=True, slots=True)
class FromFile:
    """A Drawing of features that are read anew for every box, by the index of their file."""

    layer: VectorLayer
    painted: Painted

    def within(self, left: int, top: int, right: int, bottom: int) -> Shapes:
        """Those that may meet a box of pixels."""
        r = self.painted.reach
        bounds = self.painted.place.bounds(left - r, top - r, right + r, bottom + r)
        return self.painted.shapes(self.layer.read(bounds))

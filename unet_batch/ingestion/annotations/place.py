"""Where annotations lie on an image: their coordinates as pixels, and pixels as their coordinates."""

import math
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.formats.projection import project, same_crs
from unet_batch.ingestion.annotations.config import AnnotationsConfig
from unet_batch.store.image import Image

Transform = tuple[float, float, float, float, float, float]
_IDENTITY: Transform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
# Parts of each side of a box whose hull in another CRS is wanted, and what is added to be safe.
_ALONG = 20
_SPARE = 0.02


@dataclass(frozen=True, slots=True)
class Place:
    """How the coordinates of annotations become columns and rows.

    Attributes:
        transform: of column and row to x and y, in the image's CRS.
        crs: of the annotations and of the image, where they differ.
    """

    transform: Transform = _IDENTITY
    crs: tuple[str, str] | None = None

    @classmethod
    def of(cls, image: Image, found: str | None, config: AnnotationsConfig, where: str) -> "Place":
        """As the settings say, else by the georeference of the image; ``found`` is the file's CRS.

        Raises:
            InputError: a map without georeference or CRS, or a CRS that nobody knows.
        """
        if config.transform is not None:
            return cls(config.transform)
        if config.coordinates == "pixels" or (config.coordinates == "auto" and image.georef is None):
            return cls()
        if image.georef is None:
            raise InputError(f"{image.path}: has no georeference; give `transform`, or coordinates: pixels")
        theirs = config.crs or found
        if theirs is None:
            raise InputError(f"{where}: does not say its CRS; name it with `crs`, such as EPSG:32633")
        own = image.georef.crs
        return cls(image.georef.transform, None if same_crs(theirs, own) else (theirs, own))

    def to_pixels(self, shapes: NDArray[np.object_]) -> NDArray[np.object_]:
        """Shapes in columns and rows; (0, 0) is the outer corner of the first pixel."""
        if self == Place():
            return shapes
        moved = np.asarray(shapely.transform(shapes, self._inverse), object)
        if not np.isfinite(shapely.get_coordinates(moved)).all():
            raise InputError(f"annotations reach where {self.crs} cannot follow; clip them, or mend `crs`")
        return moved

    def bounds(
        self, left: float, top: float, right: float, bottom: float
    ) -> tuple[float, float, float, float]:
        """The least and largest x and y that annotations of a box of pixels may have, with some to spare."""
        box = shapely.box(left, top, right, bottom)
        rim = shapely.segmentize(box, max(right - left, bottom - top) / _ALONG)
        found = self._forward(shapely.get_coordinates(rim))
        found = found[np.isfinite(found).all(axis=1)]
        if not len(found):
            return -math.inf, -math.inf, math.inf, math.inf
        low, high = found.min(axis=0), found.max(axis=0)
        spare = _SPARE * (high - low)
        return (*(low - spare).tolist(), *(high + spare).tolist())

    def _inverse(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = self._projected(points, backwards=False).T
        a, b, c, d, e, f = self.transform
        area = a * e - b * d
        return np.stack([(e * (x - c) - b * (y - f)) / area, (a * (y - f) - d * (x - c)) / area], axis=1)

    def _forward(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        column, row = points.T
        a, b, c, d, e, f = self.transform
        return self._projected(
            np.stack([a * column + b * row + c, d * column + e * row + f], axis=1), backwards=True
        )

    def _projected(self, points: NDArray[np.float64], *, backwards: bool) -> NDArray[np.float64]:
        if self.crs is None or not len(points):
            return points
        source, target = reversed(self.crs) if backwards else self.crs
        return np.stack(project(source, target, points[:, 0], points[:, 1]), axis=1)

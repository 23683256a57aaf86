"""Measure and place: what an area in pixels is worth, and where vertices lie in coordinates of an output."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError, text_of
from unet_batch.extras import needed
from unet_batch.products.export.vector.rings import Ints
from unet_batch.products.export.view import View
from unet_batch.store.georef import GeoReference, Transform


@dataclass(frozen=True, slots=True)
class Latitudes:
    """Rows of a grid of longitudes and latitudes on an ellipsoid, whose pixels shrink towards the poles.

    Args:
        top: latitude of the upper edge of row 0, in degrees.
        step: from row to row, in degrees.
        width: of a pixel, in degrees.
        axes: semi-axes of the ellipsoid in metres, equatorial and polar.
    """

    top: float
    step: float
    width: float
    axes: tuple[float, float]

    def above(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Area in square metres of one column of pixels above the upper edge of each row, but for a constant.

        The area of an ellipsoid between the equator and a latitude: Snyder, Map Projections, 3-12.
        """
        a, b = self.axes
        sine = np.sin(np.radians(np.clip(self.top + self.step * rows, -90, 90)))
        e = np.sqrt(1 - (b / a) ** 2)
        band = sine if e == 0 else sine / (1 - (e * sine) ** 2) / 2 + np.arctanh(e * sine) / (2 * e)
        area = b**2 * np.radians(abs(self.width)) * band
        return np.asarray(area * np.sign(self.step))


@dataclass(frozen=True, slots=True)
class Measure:
    """The unit of areas.

    Args:
        unit: ``m2``, ``um2`` or ``px``.
        factor: units for each unit of weight.
        latitudes: where a pixel's weight depends on its row; else it is 1.
    """

    unit: str
    factor: float = 1.0
    latitudes: Latitudes | None = None

    @classmethod
    def of(cls, view: View) -> "Measure":
        """By the place on the earth, else by the pixel size, else by pixels.

        Raises:
            InputError: pyproj is missing, or a CRS that it does not know.
        """
        if view.georef is not None:
            return _on_earth(view.georef)
        size = view.micrometres
        return cls("px") if size is None else cls("um2", size["y"] * size["x"])

    def rows(self, start: int, stop: int) -> NDArray[np.float64]:
        """Weight of a column of pixels above the upper edge of each row ``start`` to ``stop``."""
        rows = np.arange(start, stop + 1)
        return rows.astype(np.float64) if self.latitudes is None else self.latitudes.above(rows)


def _on_earth(georef: GeoReference) -> Measure:
    with needed("geo", "areas in square metres"):
        import pyproj  # noqa: PLC0415 - an extra

    try:
        crs = pyproj.CRS.from_user_input(georef.crs)
    except pyproj.exceptions.CRSError as error:
        reason = text_of(error)
        raise InputError(
            f"CRS {georef.crs:.60}: not known ({reason}); mend the store's `proj:code`"
        ) from None
    a, b, _, d, e, f = georef.transform
    unit = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
    if not crs.is_geographic:
        return Measure("m2", abs(a * e - b * d) * unit**2)
    if b or d or crs.ellipsoid is None:
        return Measure("px")
    degrees = np.degrees(unit)
    axes = (crs.ellipsoid.semi_major_metre, crs.ellipsoid.semi_minor_metre)
    return Measure("m2", 1.0, Latitudes(f * degrees, e * degrees, a * degrees, axes))


LONGITUDE_LATITUDE = "OGC:CRS84"


@dataclass(frozen=True, slots=True)
class Place:
    """A map from pixels to coordinates.

    Args:
        transform: a to f of x = a column + b row + c, y = d column + e row + f.
        crs: of these coordinates; None where they are no place on the earth.
        target: CRS to go on to.
        digits: decimals that are kept; None keeps all.
    """

    transform: Transform = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    crs: str | None = None
    target: str | None = None
    digits: int | None = None

    @classmethod
    def of(cls, georef: GeoReference | None, scale: float = 1.0) -> "Place":
        """The map's coordinates, or pixels times ``scale``."""
        if georef is None:
            return cls((scale, 0.0, 0.0, 0.0, scale, 0.0))
        return cls(georef.transform, georef.crs)

    def __call__(self, xy: Ints) -> NDArray[np.float64]:
        """(N, 2) coordinates of vertices.

        Raises:
            InputError: a place that the target CRS does not reach.
        """
        (x, y), (a, b, c, d, e, f) = xy.astype(np.float64).T, self.transform
        east, north = a * x + b * y + c, d * x + e * y + f
        if self.crs is not None and self.target is not None:
            east, north = _transformer(self.crs, self.target).transform(east, north)
        found = np.column_stack((east, north))
        if not np.isfinite(found).all():
            raise InputError(
                f"{self.crs}: a part of the mask has no longitude and latitude; check its transform"
            )
        return found if self.digits is None else np.round(found, self.digits)


@lru_cache(maxsize=8)
def _transformer(crs: str, target: str) -> Any:
    with needed("geo", "GeoJSON in longitude and latitude"):
        import pyproj  # noqa: PLC0415 - an extra

    try:
        return pyproj.Transformer.from_crs(crs, target, always_xy=True)
    except pyproj.exceptions.ProjError as error:
        reason = text_of(error)
        raise InputError(f"CRS {crs:.60}: not known ({reason}); mend the store's `proj:code`") from None

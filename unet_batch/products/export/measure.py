"""Measure: what an area in pixels is worth: square metres, square micrometres, or pixels. Reads no pixels."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError, text_of
from unet_batch.extras import needed
from unet_batch.products.export.view import View
from unet_batch.store.georef import GeoReference


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

"""Scale: what a pixel is in true units, also on maps in degrees, and quantities in readable units."""

from dataclasses import dataclass
from math import floor, log10, prod, radians

import numpy as np
from numpy.typing import NDArray

from unet_batch.store.georef import GeoReference
from unet_batch.store.masks import Masks
from unet_batch.store.units import length

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """An ellipsoid of so many metres and so much squared eccentricity."""

    radius: float
    squared: float

    def metres(self, latitude: Rows) -> tuple[Rows, Rows]:
        """Metres per radian along the meridian and along the parallel at latitudes in radians."""
        bend = 1 - self.squared * np.sin(latitude) ** 2
        return self.radius * (1 - self.squared) / bend**1.5, self.radius * np.cos(latitude) / bend**0.5


@dataclass(frozen=True, slots=True)
class Scale:
    """Extents of a pixel; ``unit`` is None where nothing says one.

    Attributes:
        axes: all but the channels.
        size: extent of a pixel along each, in ``unit``; in radians along y and x where there is an ellipsoid.
        unit: of lengths.
        ellipsoid: of coordinates in degrees.
        north: latitude of the upper edge in radians and its change from row to row.
    """

    axes: str
    size: tuple[float, ...]
    unit: str | None
    ellipsoid: Ellipsoid | None = None
    north: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of(cls, masks: Masks) -> "Scale":
        """The scale of level 0: in metres where the masks know where on the earth they lie."""
        layout = masks.layout
        sizes = {axis: layout.pixel_size.get(axis, 1.0) for axis in layout.axes}
        if masks.georef is None:
            known = all(axis in layout.pixel_size for axis in layout.axes[-layout.dims :])
            return cls(layout.axes, tuple(sizes.values()), layout.unit if known else None)
        return _on_earth(layout.axes, sizes, masks.georef)

    def extents(self, rows: Rows) -> tuple[Rows, Rows]:
        """Extents along y and x of pixels of level 0 in rows whose centres are 0, 1, ..."""
        y, x = (np.full(rows.shape, self.size[self.axes.index(axis)]) for axis in "yx")
        if self.ellipsoid is None:
            return y, x
        first, step = self.north
        along_y, along_x = self.ellipsoid.metres(first + step * (rows + 0.5))
        return y * along_y, x * along_x

    def measures(self, rows: Rows, dims: int = 2) -> Rows:
        """Areas (``dims`` 2) or volumes (3) of pixels in those rows."""
        y, x = self.extents(rows)
        return y * x * prod(self.size[-dims:-2])

    def unit_of(self, dims: int) -> str:
        """Unit of a length (1), an area (2) or a volume (3)."""
        return f"{self.unit or 'pixel'}{('', '²', '³')[dims - 1]}"


def _on_earth(axes: str, sizes: dict[str, float], georef: GeoReference) -> Scale:
    from pyproj import CRS  # noqa: PLC0415 - PROJ takes a third of a second, and only maps need it

    crs, found = CRS.from_user_input(georef.crs), {**sizes, **georef.pixel_size}
    if not crs.is_geographic or crs.ellipsoid is None:
        metres = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
        scaled = {axis: size * metres if axis in "yx" else size for axis, size in found.items()}
        return Scale(axes, tuple(scaled.values()), "metre")
    radius, minor = crs.ellipsoid.semi_major_metre, crs.ellipsoid.semi_minor_metre
    ellipsoid = Ellipsoid(radius, 1 - (minor / radius) ** 2)
    sizes = {axis: radians(size) if axis in "yx" else size for axis, size in found.items()}
    *_, row, top = georef.transform
    return Scale(axes, tuple(sizes.values()), "metre", ellipsoid, (radians(top), radians(row)))


# Units that are read at a glance, beside the one that a store tells.
_READABLE = {
    "nanometer": ("nm", "µm", "mm"),
    "micrometer": ("nm", "µm", "mm", "cm"),
    "millimeter": ("µm", "mm", "cm", "m"),
    "meter": ("mm", "m", "km"),
}
_POWERS = ("", "²", "³")


def quantity(value: float, unit: str | None, dims: int = 1) -> str:
    """A length (1), area (2) or volume (3) in ``unit`` to that power, with the name that suits its size."""
    known = _names(unit)
    fitting = [one for one in known if value >= 0.999 * one[1] ** dims]
    name, worth = fitting[-1] if fitting else known[0]
    number = value / worth**dims
    return f"{number:{',.4g' if number < 1e4 else ',.0f'}} {name}{_POWERS[dims - 1]}"


def scale_bar(width: float, unit: str | None, share: float = 0.25) -> tuple[float, str]:
    """What share of a picture ``width`` units wide a round length takes, at most ``share``; its label."""
    room = width * share
    power = 10.0 ** floor(log10(room))
    length = next(step * power for step in (5, 2, 1) if step * power <= room * 1.0001)
    return length / width, quantity(length, unit)


def _names(unit: str | None) -> list[tuple[str, float]]:
    """Short names of units, and how many of ``unit`` each has."""
    own = length(unit)
    if own is None:
        return [(unit or "px", 1.0)]
    shown = [length(name) for name in _READABLE.get(own.name, (own.symbol,))]
    return [(one.symbol, one.micrometres / own.micrometres) for one in shown if one is not None]

"""Place: from the pixel grid of a mask to the coordinates of an output."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError, text_of
from unet_batch.extras import needed
from unet_batch.products.export.vector.rings import Ints
from unet_batch.store.georef import GeoReference, Transform

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

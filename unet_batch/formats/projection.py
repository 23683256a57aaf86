"""Coordinate reference systems by name or WKT, and points from one to another, through rasterio."""

from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError, text_of
from unet_batch.extras import require
from unet_batch.store.georef import GeoReference
from unet_batch.store.units import length

if TYPE_CHECKING:
    from rasterio.crs import CRS

Floats = NDArray[np.float64]


def rasterio_for(purpose: str) -> ModuleType:
    """Rasterio; an InputError says how to get it where it is not installed."""
    require("rasterio", "geo", purpose)
    import rasterio  # noqa: PLC0415 - an optional package

    return cast("ModuleType", rasterio)


@lru_cache(maxsize=256)
def crs_of(text: str, where: str) -> "CRS":
    """The CRS that a person or a store named, by code or WKT.

    Raises:
        InputError: nothing that PROJ knows.
    """
    rasterio = rasterio_for(where)
    try:
        with rasterio.Env():
            return rasterio.crs.CRS.from_user_input(text)
    except (rasterio.errors.CRSError, ValueError) as error:
        reason = text_of(error, 120)
        raise InputError(
            f"{where}: {text!r:.60} is no known CRS ({reason}); write it like EPSG:32633"
        ) from None


def crs_text(crs: "CRS") -> str:
    """``AUTHORITY:NUMBER`` where this says all, else WKT2."""
    authority = crs.to_authority()
    if authority is not None and authority[1].isdigit():
        code = f"{authority[0]}:{authority[1]}"
        if crs_of(code, code) == crs:
            return code
    return str(crs.to_wkt(version="WKT2_2019"))


@lru_cache(maxsize=1024)
def same_crs(one: str, other: str) -> bool:
    """Whether two texts name the same CRS."""
    return one == other or bool(crs_of(one, one) == crs_of(other, other))


def map_unit(crs: Any) -> str | None:
    """Unit of a CRS's axes by OME-Zarr's names; None for degrees and for what OME-Zarr does not know."""
    unit = length(crs.linear_units) if crs and crs.is_projected else None
    return None if unit is None else unit.name


def project(source: str, target: str, xs: Floats, ys: Floats) -> tuple[Floats, Floats]:
    """Points in another CRS; infinite where they cannot be there."""
    rasterio = rasterio_for("warping")
    from rasterio import warp  # noqa: PLC0415 - an optional package

    with rasterio.Env():
        x, y = warp.transform(crs_of(source, source), crs_of(target, target), xs, ys)
    return np.asarray(x, np.float64), np.asarray(y, np.float64)


def resolution_in(crs: str, georef: GeoReference, shape: tuple[int, int]) -> float:
    """The pixel extent at which an image of another CRS keeps its detail in ``crs``."""
    rasterio = rasterio_for("warping")
    from rasterio import warp  # noqa: PLC0415 - an optional package

    with rasterio.Env():
        transform, _, _ = warp.calculate_default_transform(
            crs_of(georef.crs, georef.crs), crs_of(crs, crs), shape[1], shape[0], *georef.bounds(shape)
        )
    return float(f"{transform.a:.6g}")

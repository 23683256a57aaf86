"""Zones: polygons of a vector file as pixels of the masks. A pixel is inside where its centre is (GDAL)."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio import Affine
from rasterio.features import rasterize

from unet_batch.errors import FormatError, InputError, MissingError, text_of
from unet_batch.store.georef import GeoReference

_NAMES = ("name", "zone", "id")
_POLYGONS = {3, 6}  # shapely's numbers of Polygon and MultiPolygon
_RASTERISER = threading.Lock()  # rasterio silences a warning of its own in a way that is not for threads


@dataclass(frozen=True, slots=True)
class Inside:
    """A zone in a window: its number, the part of the window around it, and which pixels are inside there."""

    zone: int
    rows: slice
    columns: slice
    pixels: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Zones:
    """Polygons in pixels: x to the right and y down from the outer corner of the first one."""

    names: tuple[str, ...]
    polygons: NDArray[Any]
    tree: shapely.STRtree

    def in_window(self, top: int, left: int, height: int, width: int) -> Iterator[Inside]:
        """The zones that reach into a window of pixels, by number."""
        window = shapely.box(left, top, left + width, top + height)
        for number in np.sort(self.tree.query(window)):
            x0, y0, x1, y1 = self.polygons[number].bounds
            rows = slice(max(0, floor(y0) - top), min(height, ceil(y1) - top))
            columns = slice(max(0, floor(x0) - left), min(width, ceil(x1) - left))
            extent = (rows.stop - rows.start, columns.stop - columns.start)
            if min(extent) > 0:
                place = Affine.translation(left + columns.start, top + rows.start)
                with _RASTERISER:
                    pixels = rasterize([self.polygons[number]], extent, transform=place, dtype="uint8")
                yield Inside(int(number), rows, columns, pixels.astype(np.bool_))


def read_zones(
    path: str, layer: str | None, attribute: str | None, georef: GeoReference | None, factor: float
) -> Zones:
    """The polygons of ``path`` in pixels of a level that is coarser by ``factor`` than level 0.

    With a ``georef`` their coordinates are on the earth, in any reference system; else they are pixels of
    level 0.

    Raises:
        MissingError: no such file.
        FormatError: no vector file.
        InputError: no such layer or attribute, or other shapes than polygons.
    """
    about, table = _read(path, layer)
    column = table.column(about["geometry_name"] or "wkb_geometry")
    polygons = shapely.from_wkb(column.to_numpy(zero_copy_only=False))
    polygons = np.where(shapely.is_missing(polygons), shapely.Polygon(), polygons)
    if not len(polygons) or not set(shapely.get_type_id(polygons).tolist()) <= _POLYGONS:
        raise InputError(f"{path}: zones must be polygons; give a layer of those")
    if georef is not None:
        polygons = _to_pixels(polygons, about["crs"], georef)
    polygons = shapely.transform(polygons, lambda points: points / factor)
    return Zones(_names(path, table, attribute), polygons, shapely.STRtree(polygons))


def _read(path: str, layer: str | None) -> tuple[dict[str, Any], Any]:
    if not Path(path).exists():
        raise MissingError(f"{path}: no such file; check the path of the zones")
    try:
        found: tuple[dict[str, Any], Any] = pyogrio.read_arrow(path, layer=layer)
    except DataLayerError:
        layers = ", ".join(name for name, _ in pyogrio.list_layers(path))
        raise InputError(f"{path}: has no layer {layer}; choose among {layers}") from None
    except DataSourceError as error:
        reason = text_of(error, 120)
        raise FormatError(f"{path}: no vector file for GDAL ({reason}); give GeoJSON or GPKG") from None
    return found


def _names(path: str, table: Any, attribute: str | None) -> tuple[str, ...]:
    columns = {name.lower(): name for name in table.column_names}
    if attribute is not None and attribute not in table.column_names:
        given = ", ".join(table.column_names)
        raise InputError(f"{path}: has no attribute {attribute}; choose among {given}")
    known = attribute or next((columns[name] for name in _NAMES if name in columns), None) or _telling(table)
    if known is None:
        return tuple(str(number) for number in range(1, len(table) + 1))
    return tuple("" if value is None else str(value) for value in table.column(known).to_pylist())


def _telling(table: Any) -> str | None:
    """The first attribute of texts that are there and differ for each zone."""
    for field in table.schema:
        if str(field.type) in {"string", "large_string", "string_view"}:
            texts = table.column(field.name).to_pylist()
            if all(texts) and len(set(texts)) == len(texts):
                return str(field.name)
    return None


def _to_pixels(polygons: NDArray[Any], crs: str | None, georef: GeoReference) -> NDArray[Any]:
    """Polygons on the earth as pixels of level 0; without a reference system they are in the masks' own."""
    from pyproj import Transformer  # noqa: PLC0415 - PROJ takes a third of a second, and only maps need it

    if crs is not None and crs != georef.crs:
        project = Transformer.from_crs(crs, georef.crs, always_xy=True)
        polygons = shapely.transform(polygons, lambda points: np.column_stack(project.transform(*points.T)))
    a, b, c, d, e, f = (~Affine(*georef.transform))[:6]
    turn, shift = np.array([[a, d], [b, e]]), np.array([c, f])
    return np.asarray(shapely.transform(polygons, lambda points: points @ turn + shift))

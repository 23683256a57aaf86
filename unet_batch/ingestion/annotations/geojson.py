"""GeoJSON, by RFC 7946 and as QuPath writes it: a collection, a list of features, or one of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from shapely.geometry import shape as shape_of

from unet_batch.errors import FormatError, InputError, MissingError, one_line, text_of
from unet_batch.ingestion.annotations.dialects import dialect_of
from unet_batch.ingestion.annotations.features import PROPERTIES, Features, class_name

_SHAPES = (
    "Point",
    "MultiPoint",
    "LineString",
    "MultiLineString",
    "Polygon",
    "MultiPolygon",
    "GeometryCollection",
)
WORLD = "OGC:CRS84"
"""Longitude and latitude, which GeoJSON has by its standard."""


def read_geojson(path: Path, wanted: str | None, image: str = "") -> Features:
    """All annotations of a file; ``wanted`` is the property that names the class.

    JSON of COCO or labelme is read as well; of COCO's images the one named like ``image``.

    Raises:
        MissingError: no such file.
        FormatError: not GeoJSON, or a geometry that is none.
        InputError: no annotation names a class.
    """
    document = _parsed(path)
    if (dialect := dialect_of(document)) is not None:
        return dialect(document, path, image)
    entries = _entries(document, path)
    shapes = np.empty(len(entries), object)
    names = np.empty(len(entries), object)
    planes = np.full((len(entries), 2), -1, np.int64)
    for i, entry in enumerate(entries):
        geometry, properties = entry.get("geometry"), entry.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        shapes[i] = _shape(geometry, f"{path}: feature {i}")
        names[i] = class_name(properties, wanted)
        planes[i] = _plane(geometry, properties)
    if len(entries) and all(name is None for name in names):
        raise InputError(_no_class(path, entries, wanted))
    return Features(shapes, names, planes, _crs(document))


def _parsed(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; check the path of the annotations") from None
    except (OSError, ValueError, RecursionError) as error:
        reason = text_of(error, 120)
        raise FormatError(f"{path}: not GeoJSON ({reason}); export the annotations as GeoJSON") from None


def _entries(document: Any, path: Path) -> list[Mapping[str, Any]]:
    kind = document.get("type") if isinstance(document, Mapping) else None
    if kind == "FeatureCollection":
        found = document.get("features")
    elif kind in _SHAPES:
        found = [{"geometry": document}]
    else:
        found = [document] if kind == "Feature" else document  # older QuPath writes a bare list
    if not isinstance(found, list) or not all(isinstance(entry, Mapping) for entry in found):
        raise FormatError(f"{path}: JSON without features; export the annotations as GeoJSON")
    return found


def _shape(geometry: Any, where: str) -> Any:
    if geometry is None:
        return shapely.Polygon()
    try:
        found = shapely.force_2d(shape_of(geometry))
        finite = bool(np.isfinite(shapely.get_coordinates(found)).all())
    except Exception as error:  # shapely raises what it meets: AttributeError, KeyError, GEOSException
        reason = one_line(error, 120)
        raise FormatError(f"{where}: unusable geometry ({reason}); mend or remove it") from error
    if not finite:
        raise FormatError(f"{where}: a coordinate is not finite; mend or remove it")
    return found


def _plane(geometry: Any, properties: Mapping[str, Any]) -> tuple[int, int]:
    """Place along t and z: QuPath writes it beside the coordinates."""
    plane = geometry.get("plane") if isinstance(geometry, Mapping) else None
    source = plane if isinstance(plane, Mapping) else properties
    t, z = (source.get(axis) for axis in "tz")
    return tuple(v if isinstance(v, int) and v >= 0 else -1 for v in (t, z))  # type: ignore[return-value]  # two


def _crs(document: Any) -> str | None:
    """The CRS of GeoJSON 2008, which GIS programs still write; None where the file has none."""
    named = document.get("crs") if isinstance(document, Mapping) else None
    properties = named.get("properties") if isinstance(named, Mapping) else None
    name = properties.get("name") if isinstance(properties, Mapping) else None
    return name if isinstance(name, str) else None


def _no_class(path: Path, entries: list[Mapping[str, Any]], wanted: str | None) -> str:
    known = sorted({str(key) for entry in entries[:1000] for key in entry.get("properties") or {}})
    looked = wanted or ", ".join(PROPERTIES)
    return (
        f"{path}: no annotation names a class in {looked}; say with `property` which of "
        f"{', '.join(known) or 'its properties (it has none)'} does"
    )

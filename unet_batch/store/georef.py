"""GeoReference: where pixels lie on the earth, and how Zarr attributes say so. Pure data; projects nothing.

Written are the conventions `proj:`, `spatial:` and `multiscales` (https://github.com/zarr-conventions),
GDAL's `_CRS` on every array, and a CF grid mapping beside level 0, which xarray and rioxarray read.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unet_batch.errors import FormatError, InputError

GRID_MAPPING = "spatial_ref"
"""Name of the scalar array that holds the CF grid mapping of level 0."""

_CODE = re.compile(r"[A-Z]+:[0-9]+")
_URL = re.compile(r"https?://www\.opengis\.net/def/crs/([A-Za-z]+)/[^/]*/([0-9]+)")
_DIMENSIONS = ["y", "x"]
_RAW = "https://raw.githubusercontent.com/zarr-conventions"
_WEB = "https://github.com/zarr-conventions"
Transform = tuple[float, float, float, float, float, float]


def _convention(name: str, repository: str, uuid: str, description: str) -> dict[str, str]:
    return {
        "schema_url": f"{_RAW}/{repository}/refs/tags/v1/schema.json",
        "spec_url": f"{_WEB}/{repository}/blob/v1/README.md",
        "uuid": uuid,
        "name": name,
        "description": description,
    }


_PROJ = _convention(
    "proj:",
    "geo-proj",
    "f17cb550-5864-4468-aeb7-f3180cfb622f",
    "Coordinate reference system information for geospatial data",
)
_SPATIAL = _convention(
    "spatial:", "spatial", "689b58e2-cf7b-45e0-9fff-9cfc0883d6b4", "Spatial coordinate information"
)
_MULTISCALES = _convention(
    "multiscales", "multiscales", "d35379db-88df-4056-af3a-620245f8e347", "Multiscale layout of zarr datasets"
)


@dataclass(frozen=True, slots=True)
class GeoReference:
    """Coordinate reference system and affine transform of the axes y and x.

    Attributes:
        crs: ``AUTHORITY:NUMBER`` (``EPSG:32633``) where there is such a code, else WKT2.
        transform: a, b, c, d, e, f of x = a column + b row + c and y = d column + e row + f, where column and
            row 0 are the outer edges of the first pixel (rasterio's order).
    """

    crs: str
    transform: Transform

    def __post_init__(self) -> None:
        if not self.crs.strip():
            raise InputError(
                "a georeference needs a coordinate reference system; give one such as EPSG:32633"
            )
        a, b, _, d, e, _ = self.transform
        if not all(map(math.isfinite, self.transform)) or a * e == b * d:
            raise InputError(f"transform {self.transform}: six finite numbers, a e - b d not 0, are needed")

    @property
    def has_code(self) -> bool:
        """Whether ``crs`` is a code rather than WKT2."""
        return _CODE.fullmatch(self.crs) is not None

    @property
    def pixel_size(self) -> dict[str, float]:
        """Extent of a pixel along y and x, in units of the CRS."""
        a, b, _, d, e, _ = self.transform
        return {"y": math.hypot(b, e), "x": math.hypot(a, d)}

    def bounds(self, shape: Sequence[int]) -> tuple[float, float, float, float]:
        """Left, bottom, right, top (least and largest x and y) of an image; ``shape`` ends in y and x."""
        a, b, c, d, e, f = self.transform
        corners = [(column, row) for column in (0, shape[-1]) for row in (0, shape[-2])]
        xs = [a * column + b * row + c for column, row in corners]
        ys = [d * column + e * row + f for column, row in corners]
        return min(xs), min(ys), max(xs), max(ys)

    def scaled(self, y: float, x: float) -> "GeoReference":
        """The same place with pixels ``y`` times as high and ``x`` times as wide."""
        a, b, c, d, e, f = self.transform
        return GeoReference(self.crs, (a * x, b * y, c, d * x, e * y, f))

    def shifted(self, y: float, x: float) -> "GeoReference":
        """The georeference of a window that begins ``y`` rows and ``x`` columns behind this one's origin."""
        a, b, c, d, e, f = self.transform
        return GeoReference(self.crs, (a, b, a * x + b * y + c, d, e, d * x + e * y + f))

    def array_attributes(self, shape: Sequence[int]) -> dict[str, Any]:
        """Attributes of an array whose pixels these are; ``shape`` ends in y and x."""
        return {"zarr_conventions": [_PROJ, _SPATIAL], **self._common(shape), "_CRS": self._gdal()}

    def group_attributes(self, shapes: Sequence[Sequence[int]], resampling: str) -> dict[str, Any]:
        """Attributes of a group of levels ``0``, ``1``, ..., each half of the one before; this is level 0's.

        ``resampling`` says how a level was made (``average``, ``mode``).
        """
        layout = [self._level(number, shape) for number, shape in enumerate(shapes)]
        return {
            "zarr_conventions": [_MULTISCALES, _PROJ, _SPATIAL],
            "multiscales": {"layout": layout, "resampling_method": resampling},
            **self._common(shapes[0]),
        }

    def grid_mapping(self) -> dict[str, Any]:
        """Attributes of the CF grid mapping variable, as GDAL and rioxarray write it."""
        a, b, c, d, e, f = self.transform
        known = {} if self.has_code else {"crs_wkt": self.crs}
        return {**known, "spatial_ref": self.crs, "GeoTransform": " ".join(map(repr, (c, a, b, f, d, e)))}

    @classmethod
    def parse(cls, *attributes: Mapping[str, Any], where: str) -> "GeoReference | None":
        """What attributes (of a group, then of its array of level 0) say; None without a CRS or transform.

        Raises:
            FormatError: a transform that is none.
        """
        merged: dict[str, Any] = {}
        for more in attributes:
            merged = {**more, **merged}
        crs, given = _crs(merged), merged.get("spatial:transform", _transform_of_level_0(merged))
        if crs is None or given is None or merged.get("spatial:transform_type", "affine") != "affine":
            return None
        try:
            a, b, c, d, e, f = (float(value) for value in given)
            found = cls(crs, (a, b, c, d, e, f))
        except (TypeError, ValueError):
            raise FormatError(
                f"{where}: unusable `spatial:transform` {given!r:.80}; mend it or remove it"
            ) from None
        # Where coordinates are those of pixel centres, the outer edge lies half a pixel before.
        return found.shifted(-0.5, -0.5) if merged.get("spatial:registration") == "node" else found

    def _common(self, shape: Sequence[int]) -> dict[str, Any]:
        return {
            ("proj:code" if self.has_code else "proj:wkt2"): self.crs,
            "spatial:dimensions": _DIMENSIONS,
            "spatial:shape": list(shape[-2:]),
            "spatial:transform": list(self.transform),
            "spatial:bbox": list(self.bounds(shape)),
            "spatial:registration": "pixel",
        }

    def _level(self, number: int, shape: Sequence[int]) -> dict[str, Any]:
        factor = 1.0 if number == 0 else 2.0
        level: dict[str, Any] = {"asset": str(number)}
        if number:
            level["derived_from"] = str(number - 1)
        level["transform"] = {"scale": [factor, factor], "translation": [0.0, 0.0]}
        level["spatial:shape"] = list(shape[-2:])
        level["spatial:transform"] = list(self.scaled(2.0**number, 2.0**number).transform)
        return level

    def _gdal(self) -> dict[str, str]:
        if not self.has_code:
            return {"wkt": self.crs}
        authority, _, number = self.crs.partition(":")
        return {"url": f"http://www.opengis.net/def/crs/{authority}/0/{number}"}


def _crs(attributes: Mapping[str, Any]) -> str | None:
    gdal = attributes.get("_CRS")
    gdal = gdal if isinstance(gdal, Mapping) else {}
    url = _URL.fullmatch(str(gdal.get("url")))
    coded = f"{url[1].upper()}:{url[2]}" if url else None
    for value in (attributes.get("proj:code"), attributes.get("proj:wkt2"), coded, gdal.get("wkt")):
        if isinstance(value, str) and value.strip():
            return value
    return None


def _transform_of_level_0(attributes: Mapping[str, Any]) -> object:
    pyramid = attributes.get("multiscales")
    layout = pyramid.get("layout") if isinstance(pyramid, Mapping) else None
    first = layout[0] if isinstance(layout, list) and layout else None
    return first.get("spatial:transform") if isinstance(first, Mapping) else None

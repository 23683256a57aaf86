"""GeoJSON: by RFC 7946, in longitude and latitude; or as QuPath imports objects, in pixels."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unet_batch.extras import needed
from unet_batch.products.export.vector.features import Features
from unet_batch.products.export.vector.sink import Legend

_HEAD, _FOOT = b'{"type":"FeatureCollection","features":[\n', b"\n]}\n"


@dataclass(frozen=True, slots=True)
class GeoJson:
    """A FeatureCollection, a feature a line.

    Args:
        legend: what features mean.
        object_type: QuPath's ``detection`` or ``annotation``; None gives plain properties.
    """

    legend: Legend
    object_type: str | None = None

    def encode(self, features: Features) -> bytes:
        """Features as lines without the comma between pieces."""
        with needed("products", "the export of polygons"):
            import shapely  # noqa: PLC0415 - an extra

        features = self.legend.wanted(features)
        if not len(features):
            return b""
        geometries = shapely.to_geojson(self.legend.geometries(features))
        properties = self._qupath(features) if self.object_type else self._plain(features)
        lines = (
            f'{{"type":"Feature","properties":{one},"geometry":{geometry}}}'
            for one, geometry in zip(properties, geometries, strict=True)
        )
        return ",\n".join(lines).encode()

    def join(self, path: Path, pieces: Iterator[bytes]) -> int:
        """The pieces between head and foot."""
        count = 0
        with path.open("wb") as file:
            file.write(_HEAD)
            for piece in filter(None, pieces):
                file.write((b",\n" if count else b"") + piece)
                count += piece.count(b"\n") + 1
            file.write(_FOOT)
        return count

    def _plain(self, features: Features) -> Iterator[str]:
        columns = self.legend.columns(features)
        for values in zip(*(column.tolist() for column in columns.values()), strict=True):
            yield _json(dict(zip(columns, values, strict=True)))

    def _qupath(self, features: Features) -> Iterator[str]:
        """https://qupath.readthedocs.io/en/stable/docs/advanced/exporting_annotations.html."""
        legend = self.legend
        heads = {
            name: f'"classification":{_json({"name": name, "color": list(colour[:3])})},"measurements":'
            for name, colour in zip(legend.names, legend.colours, strict=True)
        }
        columns = {name: column.tolist() for name, column in legend.columns(features).items()}
        classes, ids = columns.pop("class"), columns.pop("id", None)
        columns.pop("class_number", None)
        names = [_measurement(name) for name in columns]
        for at, values in enumerate(zip(*columns.values(), strict=True)):
            known = {name: value for name, value in zip(names, values, strict=True) if not math.isnan(value)}
            name = f'"name":"{ids[at]}",' if ids else ""
            yield f'{{"objectType":"{self.object_type}",{name}{heads[classes[at]]}{_json(known)}}}'


def _measurement(column: str) -> str:
    """A column as QuPath names what it measures itself."""
    name, _, unit = column.partition("_")
    if name in ("area", "perimeter"):
        power = "^2" if name == "area" else ""
        return f"{name.capitalize()} {unit.removesuffix('2').replace('um', 'µm')}{power}"
    return f"{name.capitalize()} {unit}".strip()


def _json(values: dict[str, Any]) -> str:
    plain = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))

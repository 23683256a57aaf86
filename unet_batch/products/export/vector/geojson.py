"""GeoJSON: by RFC 7946, in longitude and latitude; or as QuPath imports objects, in pixels."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unet_batch.products.export.extras import needed
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

        features = self.legend.large_enough(features)
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
        legend, facts = self.legend, features.facts
        heads = [
            f'{{"objectType":"{self.object_type}","classification":'
            f'{_json({"name": name, "color": list(colour[:3])})},"measurements":'
            for name, colour in zip(legend.names, legend.colours, strict=True)
        ]
        area = {"m2": "Area m^2", "um2": "Area µm^2", "px": "Area px^2"}[legend.measure.unit]
        areas = (facts.weight * legend.measure.factor).tolist()
        confidence = facts.mean_confidence() if legend.confidence else np.full(len(areas), np.nan)
        for number, size, sure in zip(facts.classes.tolist(), areas, confidence.tolist(), strict=True):
            measured = {area: size} if math.isnan(sure) else {area: size, "Confidence": sure}
            yield f"{heads[number]}{_json(measured)}}}"


def _json(values: dict[str, Any]) -> str:
    plain = {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in values.items()}
    return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))

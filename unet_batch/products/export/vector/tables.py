"""Tables of polygons: GeoParquet and GeoPackage, both from Arrow, a batch a piece."""

import importlib
import io
import json
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from unet_batch.errors import OutputError
from unet_batch.extras import needed
from unet_batch.products.export.vector.features import Features, no_features
from unet_batch.products.export.vector.sink import Legend

_GEOPARQUET = "1.1.0"
_ROWS = 65536
_LAYER = "mask"


@dataclass(frozen=True, slots=True)
class ArrowPieces:
    """Features as Arrow streams of one batch: geometry as WKB, its box, and the attributes."""

    legend: Legend

    def encode(self, features: Features) -> bytes:
        """One stream."""
        with needed("products", "the export of polygons"):
            import pyarrow as pa  # noqa: PLC0415 - an extra

        batch = self._batch(self.legend.wanted(features))
        stream = io.BytesIO()
        with pa.ipc.new_stream(stream, batch.schema) as writer:
            writer.write_batch(batch)
        return stream.getvalue()

    def batches(self, pieces: Iterator[bytes]) -> Iterator[Any]:
        """The batches of all pieces that hold something."""
        import pyarrow as pa  # noqa: PLC0415 - ``encode`` has needed it

        for piece in pieces:
            batch = pa.ipc.open_stream(piece).read_next_batch()
            if batch.num_rows:
                yield batch

    def empty(self) -> Any:
        """A batch of nothing, with the schema of all."""
        return self._batch(no_features())

    def _batch(self, features: Features) -> Any:
        import pyarrow as pa  # noqa: PLC0415 - an extra
        import shapely  # noqa: PLC0415

        geometries = self.legend.geometries(features)
        columns = self.legend.columns(features)
        known = ~np.isnan(columns["confidence"]) if "confidence" in columns else None
        arrays = {
            name: pa.array(values, pa.string() if name == "class" else None)
            for name, values in columns.items()
        }
        if known is not None:
            arrays["confidence"] = pa.array(columns["confidence"], mask=~known)
        edges = zip(("xmin", "ymin", "xmax", "ymax"), shapely.bounds(geometries).T, strict=True)
        arrays["bbox"] = pa.StructArray.from_arrays(*zip(*((pa.array(v), n) for n, v in edges), strict=True))
        arrays["geometry"] = pa.array(shapely.to_wkb(geometries).tolist(), pa.binary())
        return pa.record_batch(arrays)


@dataclass(frozen=True, slots=True)
class GeoParquet:
    """GeoParquet 1.1 with a box for each feature, so that readers can leave out what is far."""

    arrow: ArrowPieces

    def encode(self, features: Features) -> bytes:
        """One Arrow stream."""
        return self.arrow.encode(features)

    def join(self, path: Path, pieces: Iterator[bytes]) -> int:
        """The batches as row groups, small ones together."""
        import pyarrow as pa  # noqa: PLC0415 - ``encode`` has needed it
        import pyarrow.parquet as pq  # noqa: PLC0415

        schema = self.arrow.empty().schema
        waiting: list[Any] = []
        count = 0
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in self.arrow.batches(pieces):
                waiting.append(batch)
                count += batch.num_rows
                if sum(one.num_rows for one in waiting) >= _ROWS:
                    writer.write_table(pa.Table.from_batches(waiting, schema))
                    waiting.clear()
            writer.write_table(pa.Table.from_batches(waiting, schema))
            writer.add_key_value_metadata({"geo": json.dumps(self._metadata())})
        return count

    def _metadata(self) -> dict[str, Any]:
        covering = {edge: ["bbox", edge] for edge in ("xmin", "ymin", "xmax", "ymax")}
        legend = self.arrow.legend
        column = {
            "encoding": "WKB",
            "geometry_types": ["MultiPolygon" if legend.multi else "Polygon"],
            "crs": _projjson(legend.place.crs),
            "orientation": "counterclockwise",
            "covering": {"bbox": covering},
        }
        return {"version": _GEOPARQUET, "primary_column": "geometry", "columns": {"geometry": column}}


@dataclass(frozen=True, slots=True)
class GeoPackage:
    """GeoPackage with one layer and its spatial index, written by GDAL from a stream of batches."""

    arrow: ArrowPieces

    def encode(self, features: Features) -> bytes:
        """One Arrow stream."""
        with needed("products", "the export to GeoPackage"):
            importlib.import_module("pyogrio")  # missed here, not when all is done
        return self.arrow.encode(features)

    def join(self, path: Path, pieces: Iterator[bytes]) -> int:
        """All batches in one transaction after the other."""
        import pyarrow as pa  # noqa: PLC0415 - ``encode`` has needed them
        import pyogrio  # noqa: PLC0415

        legend = self.arrow.legend
        empty, counts = self.arrow.empty().drop_columns(["bbox"]), [0]

        def batches() -> Iterator[Any]:
            for batch in self.arrow.batches(pieces):
                counts.append(batch.num_rows)
                yield batch.drop_columns(["bbox"])

        reader = pa.RecordBatchReader.from_batches(empty.schema, batches())
        with warnings.catch_warnings():
            # pixels of a slide are no place on the earth
            warnings.filterwarnings("ignore", "'crs' was not provided")
            pyogrio.write_arrow(
                reader,
                path,
                layer=_LAYER,
                driver="GPKG",
                geometry_name="geometry",
                geometry_type="MultiPolygon" if legend.multi else "Polygon",
                crs=legend.place.crs,
            )
        _require_whole(path, sum(counts))
        return sum(counts)


_TRIGGERS = "SELECT count(*) FROM sqlite_master WHERE name GLOB 'trigger_*_feature_count_*'"


def _require_whole(path: Path, count: int) -> None:
    """Raise OutputError where GDAL failed on closing a GeoPackage: it tells nobody of that."""
    cure = "free space, or choose another disk"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as database:
            (column,) = database.execute("SELECT column_name FROM gpkg_geometry_columns").fetchone()
            tables = (_LAYER, f"rtree_{_LAYER}_{column}")
            questions = [f"SELECT count(*) FROM {table}" for table in tables]  # noqa: S608 - names of our own
            questions += [
                "SELECT feature_count FROM gpkg_ogr_contents",
                _TRIGGERS,
            ]  # made last, in this order
            found = [database.execute(question).fetchone()[0] for question in questions]
    except sqlite3.Error as error:
        raise OutputError(f"{path}: was not written whole ({error}); {cure}") from error
    if found != [count, count, count, 2]:
        raise OutputError(f"{path}: was not written whole; {cure}")


def _projjson(crs: str | None) -> dict[str, Any] | None:
    if crs is None:
        return None
    with needed("geo", "GeoParquet with a coordinate reference system"):
        import pyproj  # noqa: PLC0415 - an extra

    found: dict[str, Any] = pyproj.CRS.from_user_input(crs).to_json_dict()
    return found

"""Every verb that works by blocks, on inputs of some thousand pixels: how to run it, and what it has made."""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import rasterio
import shapely
import tifffile
from rasterio.transform import from_origin

from tests.products.worlds import blobs, write_masks
from tests.worlds import noise, write_image, write_network
from unet_batch.engine.progress import Hooks
from unet_batch.ingestion import run as ingestion
from unet_batch.ingestion.annotations.config import AnnotationsConfig
from unet_batch.ingestion.annotations.run import ingest_annotations
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.run import ingest_mosaic
from unet_batch.ingestion.run import ingest
from unet_batch.models import device as _device  # imported here, so that no child has to
from unet_batch.prediction import pipeline as _pipeline
from unet_batch.prediction import predictor as _predictor
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.run import export
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.products.objects.run import objects
from unet_batch.products.stats.config import StatsConfig
from unet_batch.products.stats.run import stats

IMPORTED = (_device, _pipeline, _predictor)

PREDICT = PredictConfig(
    workers=0, block=32, tile=16, batch=1, threads=1, precision="fp32", backend="eager", device="cpu"
)


@dataclass(frozen=True)
class Verb:
    """One verb; ``run`` writes to a path whose name is ``out``."""

    name: str
    out: str
    run: Callable[[Path, Hooks], object]


@dataclass(frozen=True)
class World:
    """Inputs in a folder."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> "World":
        """Image, network, raster, scenes, annotations, masks."""
        folder.mkdir(parents=True, exist_ok=True)
        write_network(folder / "net.safetensors", depth=1, width=2, padding="same")
        write_image(folder / "image.zarr", noise((64, 80)), "yx", chunk=32)
        write_masks(folder / "masks.zarr", blobs((64, 64), 3))
        tifffile.imwrite(folder / "raster.tif", noise((64, 64)), tile=(32, 32))
        for number in range(2):
            at = from_origin(500000 + 300 * number, 5000000, 10, 10)
            shape = {"width": 40, "height": 40, "count": 1, "dtype": "uint8"}
            place = {"crs": "EPSG:32633", "transform": at, "nodata": 0}
            with rasterio.open(folder / f"scene{number}.tif", "w", driver="GTiff", **shape, **place) as scene:
                scene.write(noise((40, 40), number)[None] + 1)
        square = json.loads(shapely.to_geojson(shapely.box(5, 5, 40, 50)))
        feature = {"type": "Feature", "properties": {"class": "cell"}, "geometry": square}
        (folder / "drawn.geojson").write_text(
            json.dumps({"type": "FeatureCollection", "features": [feature]})
        )
        return cls(folder)

    def verbs(self) -> list[Verb]:
        """All of them. Files are not probed by a child process first: that has tests of its own."""
        ingestion.probe = lambda *_: None  # type: ignore[attr-defined]
        at, masks = self.folder, self.folder / "masks.zarr"
        small = {"block": 32, "chunk": 32}
        few = ExportConfig(workers=0, block=32, tile=64)
        return [
            Verb(
                "predict",
                "out.zarr",
                lambda out, hooks: predict(
                    at / "image.zarr", out, at / "net.safetensors", PREDICT, hooks=hooks
                ),
            ),
            Verb(
                "ingest",
                "out.zarr",
                lambda out, hooks: ingest(
                    at / "raster.tif", out, IngestConfig(workers=0, levels=3, **small), hooks=hooks
                ),
            ),
            Verb(
                "mosaic",
                "out.zarr",
                lambda out, hooks: ingest_mosaic(
                    [at / "scene0.tif", at / "scene1.tif"], out, MosaicConfig(workers=0, **small), hooks=hooks
                ),
            ),
            Verb(
                "annotations",
                "out.zarr",
                lambda out, hooks: ingest_annotations(
                    at / "image.zarr",
                    at / "drawn.geojson",
                    out,
                    AnnotationsConfig(workers=0, coordinates="pixels", **small),
                    hooks=hooks,
                ),
            ),
            *(
                Verb(f"export {kind}", f"out.{kind}", lambda out, hooks: export(masks, out, few, hooks=hooks))
                for kind in ("tif", "geojson", "gpkg", "parquet")
            ),
            Verb(
                "objects",
                "out.parquet",
                lambda out, hooks: objects(
                    masks, out, ObjectsConfig(workers=0), labels=out.with_name("objects.zarr"), hooks=hooks
                ),
            ),
            Verb(
                "stats",
                "out.csv",
                lambda out, hooks: stats(masks, out, StatsConfig(workers=0), reference=masks, hooks=hooks),
            ),
        ]


_TIMES = {"created", "host", "trial_pixels_per_second", "table", "masks", "image", "models"}


def content(folder: Path) -> dict[str, str]:
    """All files below ``folder`` by what they say; ledgers, whose records hold times, by their statuses."""
    found = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if file.is_file() and "/ledger/" not in f"/{name}":
            found[name] = hashlib.sha256(_said(file)).hexdigest()
    return found


def _said(file: Path) -> bytes:
    if file.suffix == ".json":
        return json.dumps(_timeless(json.loads(file.read_bytes())), sort_keys=True).encode()
    if file.suffix == ".parquet":
        return repr(pq.read_table(file, use_threads=False).to_pydict()).encode()
    if file.suffix == ".gpkg":
        with sqlite3.connect(file) as database:
            return "\n".join(line for line in database.iterdump() if "gpkg_contents" not in line).encode()
    return file.read_bytes()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(one) for key, one in value.items() if key not in _TIMES}
    return [_timeless(one) for one in value] if isinstance(value, list) else value


__all__ = ["PREDICT", "Verb", "World", "content"]

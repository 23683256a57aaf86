"""A running cluster ingests what this process would, byte by byte."""

import json

import tifffile

from tests.worlds import noise, shard_hashes
from unet_batch.cluster.config import ClusterConfig
from unet_batch.cluster.local import connect, rendezvous_of
from unet_batch.ingestion.annotations.config import AnnotationsConfig
from unet_batch.ingestion.annotations.run import ingest_annotations
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.labels.config import LabelsConfig
from unet_batch.ingestion.labels.run import ingest_labels
from unet_batch.ingestion.run import ingest

RING = [[9, 9], [70, 20], [50, 90], [9, 9]]
DRAWN = {
    "type": "Feature",
    "properties": {"classification": {"name": "cell"}},
    "geometry": {"type": "Polygon", "coordinates": [RING]},
}


def test_a_cluster_gives_the_same_bytes(tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", noise((150, 130)), tile=(32, 32))
    tifffile.imwrite(tmp_path / "labels.tif", noise((150, 130)) % 3, tile=(32, 32))
    (tmp_path / "drawn.geojson").write_text(json.dumps(DRAWN))

    def made(name, **where):
        folder = tmp_path / name
        folder.mkdir()
        given = {"block": 64, "chunk": 32, **where}
        ingest(tmp_path / "image.tif", folder / "image", IngestConfig(**given))
        ingest_labels(tmp_path / "labels.tif", folder / "labels", LabelsConfig(**given))
        drawn = tmp_path / "drawn.geojson"
        ingest_annotations(folder / "image", drawn, folder / "drawn", AnnotationsConfig(**given))
        return shard_hashes(folder)

    with connect(ClusterConfig(workers=1, threads=1)) as client:
        by_cluster = made("cluster", scheduler=str(rendezvous_of(client, tmp_path)))
    assert by_cluster == made("here", workers=0)

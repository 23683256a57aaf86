"""A mosaic that is stopped, killed, begun twice or given to other workers: the same bytes, nothing twice."""

import shutil

import pytest

from tests.formats.geo_files import noise, write_scene
from tests.ingestion.mosaic.test_scenes import at
from tests.worlds import shard_hashes, stopper
from unet_batch.engine.progress import Hooks
from unet_batch.errors import OutputError, PlanMismatchError, StoreBusyError
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.run import ingest_mosaic
from unet_batch.store.ledger import Ledger

SETTINGS = {"block": 32, "chunk": 16, "rule": "feather"}
SERIAL = MosaicConfig(**SETTINGS, workers=0)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    paths = [
        write_scene(folder / f"{n}.tif", noise((2, 70, 90), n), at(20 * n, 45 * n), nodata=0)
        for n in range(3)
    ]
    ingest_mosaic(paths, folder / "whole.zarr", SERIAL)
    return paths, shard_hashes(folder / "whole.zarr")


def test_a_stopped_mosaic_goes_on_where_it_was(world, tmp_path):
    paths, hashes = world
    out, done = tmp_path / "out.zarr", []
    for after in (3, 9, 10**9):
        hooks, seen = stopper(after)
        found = ingest_mosaic(paths, out, SERIAL, hooks=hooks)
        assert (out / "zarr.json").exists() == (found.blocks["pending"] == 0)
        done += seen
    assert len(done) == len(set(done)) == found.blocks["done"]
    assert shard_hashes(out) == hashes


def test_workers_give_the_same_bytes(world, tmp_path):
    paths, hashes = world
    found = ingest_mosaic(paths, tmp_path / "out.zarr", MosaicConfig(**SETTINGS, workers=2))
    assert found.blocks["failed"] == 0
    assert shard_hashes(tmp_path / "out.zarr") == hashes


def test_a_finished_mosaic_is_left_alone(world, tmp_path):
    paths, _ = world
    ingest_mosaic(paths, tmp_path / "out.zarr", SERIAL)
    messages = []
    hooks = Hooks(lambda _, progress: messages.append(progress.message))
    ingest_mosaic(paths, tmp_path / "out.zarr", SERIAL, hooks=hooks)
    assert messages == ["nothing to do: every block is in the store"]


def test_other_scenes_or_settings_are_another_mosaic(world, tmp_path):
    paths, _ = world
    ingest_mosaic(paths, tmp_path / "out.zarr", SERIAL, hooks=stopper(2)[0])
    with pytest.raises(PlanMismatchError, match="scenes"):
        ingest_mosaic(paths[:2], tmp_path / "out.zarr", SERIAL)
    with pytest.raises(PlanMismatchError, match="merge"):
        ingest_mosaic(paths, tmp_path / "out.zarr", MosaicConfig(**{**SETTINGS, "feather": 5}, workers=0))


@pytest.mark.parametrize(
    "gone", [["zarr.json", "journal.jsonl", "status", "checksum", "seconds", "counts"], ["."]]
)
def test_killed_before_the_ledger_or_the_plan_was_there(world, tmp_path, gone):
    paths, hashes = world
    out = tmp_path / "out.zarr"
    ingest_mosaic(paths, out, SERIAL, hooks=stopper(0)[0])
    for path in (out / "ledger" / name for name in gone):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    ingest_mosaic(paths, out, SERIAL)
    assert shard_hashes(out) == hashes


def test_one_driver_at_a_time(world, tmp_path):
    paths, _ = world
    out = tmp_path / "out.zarr"
    ingest_mosaic(paths, out, SERIAL, hooks=stopper(2)[0])
    with Ledger.open(out, writable=True), pytest.raises(StoreBusyError, match="process"):
        ingest_mosaic(paths, out, SERIAL)


def test_what_is_in_the_way_stays(world, tmp_path):
    paths, _ = world
    (tmp_path / "out.zarr").mkdir()
    (tmp_path / "out.zarr" / "letter.txt").write_text("mine")
    with pytest.raises(OutputError, match="other things"):
        ingest_mosaic(paths, tmp_path / "out.zarr", SERIAL)
    assert (tmp_path / "out.zarr" / "letter.txt").read_text() == "mine"

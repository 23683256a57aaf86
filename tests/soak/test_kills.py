"""Verbs that are killed at random moments and run again, until they are through: equal bytes (make soak).

Runs are forked from a process that has imported the package, so that most kills meet work and not imports.
Predictions, with drivers and workers of their own, are killed in tests/prediction/test_resume.py.
"""

import multiprocessing
import random
import shutil
import signal
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import tifffile

from tests.cli.program import call, settings
from tests.formats.geo_files import noise, write_scene
from tests.ingestion.mosaic.test_scenes import at
from tests.kept import keep
from tests.products.export.stores import blobs, store_masks
from tests.worlds import shard_hashes

KILLS = 50
SERIAL = settings("workers=0")
SMALL = settings("block=64", "chunk=32", "workers=2")
VERBS = {
    "ingest": (["ingest", "image.tif", "out.zarr", *SMALL], "out.zarr"),
    "annotations": (["ingest", "annotations", "image.zarr", "drawn.geojson", "out.zarr", *SMALL], "out.zarr"),
    "mosaic": (
        ["ingest", "mosaic", "scenes", "out.zarr", *settings("rule=feather", "block=32"), *SERIAL],
        "out.zarr",
    ),
    "export COG": (["export", "masks.zarr", "out.tif", *settings("tile=64"), *SERIAL], "out.tif"),
    "export GeoJSON": (
        ["export", "masks.zarr", "out.geojson", *settings("block=64"), *SERIAL],
        "out.geojson",
    ),
    "objects": (["objects", "masks.zarr", "out.parquet", "--labels", "out.zarr", *SERIAL], "out.parquet"),
    "stats": (["stats", "masks.zarr", "out.csv", "--reference", "masks.zarr/0", *SERIAL], "out.csv"),
    "export anew": (
        ["export", "masks.zarr", "out.tif", "--overwrite", *settings("tile=64"), *SERIAL],
        "out.tif",
    ),
}
DRAWN = """{"type": "Feature", "properties": {"classification": {"name": "cell"}},
"geometry": {"type": "Polygon", "coordinates": [[[9, 9], [300, 20], [250, 333], [9, 9]]]}}"""


@pytest.fixture(scope="module")
def desk(tmp_path_factory):
    folder = tmp_path_factory.mktemp("desk")
    tifffile.imwrite(folder / "image.tif", noise((420, 390)), tile=(32, 32))
    (folder / "drawn.geojson").write_text(DRAWN)
    (folder / "scenes").mkdir()
    for n in range(4):
        write_scene(folder / "scenes" / f"{n}.tif", noise((2, 150, 170), n), at(40 * n, 90 * n), nodata=0)
    store_masks(folder / "masks.zarr", blobs(500, 600))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert call("ingest", "image.tif", "image.zarr", *SMALL, "--quiet").code == 0
        yield folder


def run(words, errors):
    answer = call(*words, "--quiet")
    Path(errors).write_text(answer.err)
    raise SystemExit(answer.code)


def content(out):
    """What two outputs must have in common: bytes; of a table, whose metadata tell the time, its rows."""
    if out.suffix == ".parquet":
        return pq.read_table(out).to_pydict(), shard_hashes(out.with_suffix(".zarr"))
    return out.read_bytes() if out.is_file() else shard_hashes(out)


def remove(out):
    beside = [out.with_name(f"{out.name}{ending}") for ending in (".partial", ".aux.xml")]
    for path in (out, out.with_suffix(".zarr"), *beside):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("verb", VERBS)
def test_kills(desk, verb):
    words, out = VERBS[verb][0], desk / VERBS[verb][1]
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload(["tests.soak.test_kills", "unet_batch.cli.main"])
    rng, counts, began = random.Random(3), {"kills": 0, "outputs": 0}, time.monotonic()

    def run_for(seconds):
        """Exit code and what was said; killed after some seconds."""
        process = forks.Process(target=run, args=(words, desk / "errors.txt"))
        process.start()
        process.join(seconds)
        process.kill()
        process.join()
        return process.exitcode, (desk / "errors.txt").read_text() if process.exitcode >= 0 else ""

    run_for(None)  # starts the server
    remove(out)
    started = time.monotonic()
    assert run_for(None) == (0, "")
    whole, needed = content(out), time.monotonic() - started
    remove(out)
    while counts["kills"] < KILLS:
        code, said = run_for(rng.uniform(0.1, 0.9) * needed)
        counts["kills"] += code == -signal.SIGKILL
        assert code in (0, -signal.SIGKILL), said
        if code == 0:
            counts["outputs"] += 1
            assert content(out) == whole
            assert not out.with_name(f"{out.name}.partial").exists()
            if "--overwrite" not in words:
                remove(out)
    assert run_for(None)[0] == 0
    assert content(out) == whole
    assert not [path for path in desk.iterdir() if path.name.endswith(".partial")]
    remove(out)
    keep("kills_verbs", verb, **counts, bytes_equal=True, seconds=round(time.monotonic() - began))

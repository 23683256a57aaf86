"""One writer of an output at a time, nothing removed that another run made, and no work without locks."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.cli.program import call, listing, predict, settings
from tests.formats.geo_files import write_scene
from tests.worlds import noise
from unet_batch.store.lock import OutputLock

NO_LOCKS = """\
#include <errno.h>
int flock(int descriptor, int operation) { (void)descriptor; (void)operation; errno = ENOLCK; return -1; }
"""
SERIAL = settings("workers=0")
WRITERS = {
    "file": ["ingest", "rgb.png", "new.zarr"],
    "mosaic": ["ingest", "mosaic", "scene.tif", "new.zarr", *SERIAL],
    "annotations": ["ingest", "annotations", "image.zarr", "drawn.geojson", "image.zarr/labels/new"],
    "predict": ["predict", "image.zarr", "new.zarr", "--model", "net.safetensors", *SERIAL],
    "predict inside": ["predict", "image.zarr", "image.zarr/labels/n", "--model", "net.safetensors", *SERIAL],
    "export": ["export", "done.zarr", "new.tif", *SERIAL],
    "export parts": ["export", "done.zarr", "new", "--kind", "parts", *SERIAL],
    "export polygons": ["export", "done.zarr", "new.geojson", *SERIAL],
    "objects": ["objects", "done.zarr", "new.parquet", *SERIAL],
    "stats": ["stats", "done.zarr", "new.csv"],
    "stats by blocks": ["stats", "done.zarr", "new.csv", "--reference", "done.zarr/0", *SERIAL],
    "preview": ["preview", "done.zarr", "new.png"],
    "report": ["report", "done.zarr", "new.html"],
}
RUN_ALL = """\
import json, sys
from pathlib import Path
from tests.cli.program import call, listing
told = {}
for name, words in json.loads(sys.argv[1]).items():
    before = listing(Path())
    answer = call(*words)
    told[name] = answer.code, answer.err, listing(Path()) == before
print(json.dumps(told))
"""
DRAWN = {
    "type": "Feature",
    "properties": {"classification": {"name": "nucleus"}},
    "geometry": {"type": "Polygon", "coordinates": [[[5, 5], [40, 5], [40, 40], [5, 5]]]},
}
HELD = """\
import sys
from unet_batch.engine.progress import Hooks
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.run import export
def wait(_, progress):
    if progress.message == "joining the pieces":
        print("joining", flush=True)
        sys.stdin.readline()
export("done.zarr", sys.argv[1], ExportConfig(workers=0), hooks=Hooks(wait))
"""


@pytest.fixture
def writers(desk):
    (desk / "drawn.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [DRAWN]}))
    write_scene(desk / "scene.tif", noise((1, 60, 70)))
    return WRITERS


def test_without_locks_every_verb_ends_in_one_line_and_leaves_nothing(desk, writers):
    (desk.parent / "no_locks.c").write_text(NO_LOCKS)
    library = desk.parent / "no_locks.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, desk.parent / "no_locks.c"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", RUN_ALL, json.dumps(writers)]
    said = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    for name, (code, err, untouched) in json.loads(said.stdout).items():
        last = err.splitlines()[-1]
        assert (code, untouched) == (2, True), (name, err)
        assert last.startswith("error: "), (name, err)
        assert "this file system has no locks" in last, (name, err)
        assert "Traceback" not in err


@pytest.mark.parametrize("name", [name for name in WRITERS if "predict" not in name and name != "mosaic"])
def test_an_output_that_another_process_writes_is_refused(desk, writers, name):
    words = writers[name]
    out = next(desk / word for word in words if "new" in word)
    out.parent.mkdir(exist_ok=True)
    with OutputLock.beside(out):
        before = listing(desk)
        answer = call(*words)
        assert listing(desk) == before
    assert answer.code == 75, answer
    assert f"process {os.getpid()} on " in answer.err.splitlines()[-1]
    assert call(*words).code == 0


@pytest.mark.parametrize("name", ["new.tif", "new", "new.geojson"])
@pytest.mark.parametrize("more", [[], settings("compression=none"), ["--overwrite"]])
def test_two_exports_at_once_are_one_export_and_one_refusal(desk, name, more):
    """The second comes while the first joins its pieces, the time at which no ledger is open."""
    kind = [] if "." in name else ["--kind", "parts"]
    assert call("export", "done.zarr", f"alone/{name}", *kind, *SERIAL).code == 2
    (desk / "alone").mkdir()
    assert call("export", "done.zarr", f"alone/{name}", *kind, *SERIAL).code == 0
    words = [sys.executable, "-c", HELD, name]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(words, env=environment, **pipes) as one:
        assert one.stdout.readline() == "joining\n"
        before = listing(desk)
        answer = call("export", "done.zarr", name, *kind, *SERIAL, *more)
        assert (answer.code, answer.err.count("\n")) == (75, 1), answer
        assert f"process {one.pid} on " in answer.err
        assert listing(desk) == before
        one.stdin.write("\n")
        one.stdin.flush()
        assert one.wait() == 0
    assert {p.name for p in desk.glob(f"*{name}*")} <= {name, f"{name}.aux.xml"}
    assert content(desk / name) == content(desk / "alone" / name)


def content(path):
    return {f.name: f.read_bytes() for f in sorted(path.iterdir())} if path.is_dir() else path.read_bytes()


@pytest.mark.parametrize("whole", [True, False])
def test_masks_without_their_zarr_json_are_refused_and_stay(desk, writers, whole):
    store = desk / "done.zarr"
    (store / "zarr.json").rename(desk / "zarr.json")
    if not whole:
        shutil.rmtree(store / "ledger")
    before = listing(desk)
    for answer in (
        predict(out="done.zarr"),
        call("ingest", "mosaic", "scene.tif", "done.zarr", *SERIAL),
        call("objects", "image.zarr", "o.parquet", "--labels", "done.zarr"),
        call("ingest", "rgb.png", "done.zarr"),
        call("ingest", "rgb.png", "done.zarr", "--overwrite"),
    ):
        assert answer.code == 2, answer
        assert listing(desk) == before
    said = predict(out="done.zarr").refusal
    assert said.startswith(
        "done.zarr: holds finished blocks, but its zarr.json is missing; restore that file"
    )
    if whole:
        (desk / "zarr.json").rename(store / "zarr.json")  # the cure
        assert "nothing to do" in predict(out="done.zarr").err

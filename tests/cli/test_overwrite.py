"""`--overwrite` begins anew what this program made, and removes nothing else."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.program import SERIAL, call, listing, predict, settings
from tests.engine.jobs import killed_at
from tests.formats.geo_files import write_scene
from tests.worlds import noise, shard_hashes, write_network
from unet_batch.store.group import empty, is_emptying, refuse_occupied
from unet_batch.store.masks import Masks

LOCK = Path("ledger") / "lock"
VERBS = {
    "predict": (["predict", "image.zarr", "new.zarr", "--model", "net.safetensors"], "new.zarr"),
    "predict-many": (
        ["predict-many", "image.zarr", "--out-dir", "made", "--model", "net.safetensors"],
        "made/image.zarr",
    ),
    "mosaic": (["ingest", "mosaic", "scene.tif", "new.zarr"], "new.zarr"),
    "objects": (["objects", "done.zarr", "new.parquet", "--labels", "new.zarr"], "new.zarr"),
    "stats": (["stats", "done.zarr", "new.csv", "--reference", "done.zarr/0"], "new.csv"),
}


@pytest.fixture
def scene(desk):
    write_scene(desk / "scene.tif", noise((1, 40, 50)))
    return desk


def made(verb):
    """Words of a verb, which was called with them, and what it made."""
    words, out = VERBS[verb]
    words = [*words, *settings(*(SERIAL if "predict" in verb else ["workers=0"]))]
    assert call(*words, "--quiet").code == 0
    return words, Path(out).absolute()


def content(out):
    return out.read_bytes() if out.is_file() else shard_hashes(out)


def names(folder):
    return {path.name for path in folder.iterdir()}


def damage(out):
    """Other bytes in the output; a run that leaves it alone does not see them."""
    file = out if out.is_file() else max((out / "0" / "c").rglob("*"), key=lambda file: file.is_file())
    file.write_bytes(file.read_bytes() + b"\n")


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_finished_is_made_again(scene, verb):
    words, out = made(verb)
    whole = content(out)
    damage(out)
    assert content(out) != whole
    assert call(*words, "--quiet", "--overwrite").code == 0
    assert content(out) == whole
    assert not list(out.parent.glob("*.partial"))


def test_what_other_settings_made_is_replaced(desk):
    assert predict("--quiet").code == 0
    write_network(desk / "other.safetensors", in_channels=3, width=3, depth=3, seed=5)
    before = Masks.open("out.zarr").attributes["plan_hash"]
    assert "give --overwrite" in predict(model="other.safetensors").refusal
    anew = predict("--quiet", "--overwrite", model="other.safetensors", using=SERIAL[:-1])
    assert anew.code == 0
    assert Masks.open("out.zarr").attributes["plan_hash"] != before


def test_an_unfinished_run_of_the_same_plan_goes_on(desk):
    assert predict("--quiet").code == 0
    masks = Masks.open("out.zarr", writable=True)
    masks.stamp({"finished": False})
    before = (desk / "out.zarr" / "ledger" / "runs.jsonl").read_text()
    assert predict("--quiet", "--overwrite").code == 0
    assert (desk / "out.zarr" / "ledger" / "runs.jsonl").read_text() == before


@pytest.mark.parametrize("verb", ["predict", "mosaic", "objects"])
def test_notes_in_a_store_are_kept(scene, refused, verb):
    words, store = made(verb)
    (store / "notes.txt").write_text("mine")
    assert "holds notes.txt" in refused(call, *words, "--overwrite")


@pytest.mark.parametrize("verb", ["objects", "stats"])
def test_tables_of_others_are_kept(desk, refused, verb):
    words, _ = VERBS[verb]
    Path(words[2]).write_text("a,b\n1,2\n")
    assert "is not replaced" in refused(call, *words, "--overwrite")


def test_results_beside_a_mosaic_are_kept(scene, refused):
    words, mosaic = made("mosaic")
    shutil.copytree("done.zarr", mosaic / "labels" / "cells")
    assert "holds labels" in refused(call, *words, "--overwrite")


def test_a_kill_while_a_store_is_emptied_leaves_a_place_to_begin_anew(desk):
    for operation in range(1, 200):
        shutil.copytree(desk / "done.zarr", desk / "store")
        store = desk / "store"
        if not killed_at(operation, store, lambda: empty(Path("store").absolute(), Path("zarr.json"), LOCK)):
            break
        if (store / "zarr.json").exists():
            assert listing(store).keys() == {
                name.replace("done.zarr", "store") for name in listing(desk / "done.zarr")
            }
        else:
            assert is_emptying(store) or names(store) == {"ledger"}
            refuse_occupied(str(store))
        shutil.rmtree(store)
    assert operation > 8
    assert [path.name for path in store.rglob("*")] == ["ledger", "lock"]


def test_a_killed_replacement_is_taken_up(desk):
    assert predict("--quiet").code == 0
    whole = shard_hashes(desk / "out.zarr")
    store = desk / "out.zarr"
    (store / "zarr.json").rename(store / "ledger" / "emptying.json")
    assert predict("--quiet").code == 0
    assert shard_hashes(store) == whole
    assert json.loads((store / "zarr.json").read_text())["attributes"]["unet_batch"]["finished"]
    assert names(store) == names(desk / "done.zarr")

"""An export as a run: stopped and resumed, begun anew, refused; the output is there only when it is whole."""

import sys
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.cli.program import call, listing
from tests.products.export.stores import UTM, blobs, store_masks
from tests.worlds import stopper
from unet_batch.engine.progress import Hooks
from unet_batch.errors import (
    DamageError,
    InputError,
    MissingError,
    OutputError,
    PlanMismatchError,
    StoreBusyError,
    UnetBatchError,
)
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.raster import product as raster_product
from unet_batch.products.export.run import export
from unet_batch.store.masks import Masks

CONFIG = ExportConfig(workers=0, tile=64, part=128, block=50, instances=False)
OUTPUTS = ["m.tif", "parts", "m.ome.tif", "m.geojson", "m.parquet", "m.gpkg"]


@pytest.fixture
def masks(tmp_path):
    return store_masks(tmp_path / "masks.zarr", blobs(150, 600))


def content(path):
    """Bytes of a file, or of all files of a folder; without what is different in each writing."""
    if path.is_dir():
        return {file.name: file.read_bytes() for file in path.iterdir()}
    found = path.read_bytes()
    start = found.find(b"urn:uuid:")
    return found if start < 0 else found[:start] + found[start + 45 :]


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_stopped_export_goes_on(tmp_path, masks, name):
    hooks, seen = stopper(2)
    stopped = export(masks, tmp_path / name, CONFIG, hooks=hooks)
    assert (stopped.finished, stopped.bytes, len(seen)) == (False, 0, 2)
    assert not (tmp_path / name).exists()
    more, told = [], []

    def observe(event, progress):
        if event is not None:
            more.append(event.number)
            told.append((progress.blocks_done, progress.blocks_total))

    finished = export(masks, tmp_path / name, CONFIG, hooks=Hooks(observe))
    assert finished.finished
    assert told == [(done + 1, len(more)) for done in range(len(more))]
    assert len(seen) + len(more) == finished.blocks
    (tmp_path / "other").mkdir()
    whole = export(masks, tmp_path / "other" / name, CONFIG)
    assert replace(whole, output="", seconds=0) == replace(finished, output="", seconds=0)
    if name != "m.gpkg":  # a database notes when it was written
        assert content(tmp_path / name) == content(tmp_path / "other" / name)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("name", ["m.tif", "m.geojson"])
def test_workers_give_the_same_bytes(tmp_path, masks, name):
    export(masks, tmp_path / name, CONFIG)
    by_workers = CONFIG.model_copy(update={"workers": 2, "overwrite": True})
    serial = content(tmp_path / name)
    export(masks, tmp_path / name, by_workers)
    assert content(tmp_path / name) == serial


def test_other_settings_are_refused_unless_to_overwrite(tmp_path, masks):
    hooks, _ = stopper(3)
    export(masks, tmp_path / "m.geojson", CONFIG, hooks=hooks)
    other = {"connectivity": 8}
    with pytest.raises(PlanMismatchError, match=r"settings\.connectivity: 8, not 4.*--overwrite"):
        export(masks, tmp_path / "m.geojson", CONFIG.model_copy(update=other))
    hooks, seen = stopper(10**6)
    anew = CONFIG.model_copy(update={**other, "overwrite": True})
    assert export(masks, tmp_path / "m.geojson", anew, hooks=hooks).blocks == len(seen)


def test_a_changed_mask_is_another_plan(tmp_path, masks):
    hooks, _ = stopper(3)
    export(masks, tmp_path / "m.geojson", CONFIG, hooks=hooks)
    Masks.open(masks).stamp({"repaired": 1})
    with pytest.raises(PlanMismatchError, match="state"):
        export(masks, tmp_path / "m.geojson", CONFIG)
    hooks, seen = stopper(10**6)
    anew = CONFIG.model_copy(update={"overwrite": True})
    assert export(masks, tmp_path / "m.geojson", anew, hooks=hooks).blocks == len(seen)


@pytest.mark.parametrize("content", ["letter.txt", "ledger/zarr.json"])
def test_what_only_bears_the_name_of_a_work_folder_stays(tmp_path, masks, content):
    file = tmp_path / "m.tif.partial" / content
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    with pytest.raises((OutputError, DamageError), match=r"no run of this version|plan is missing"):
        export(masks, tmp_path / "m.tif", CONFIG.model_copy(update={"overwrite": True}))
    assert file.read_text() == "mine"


def test_neither_masks_nor_other_folders_are_overwritten(tmp_path, masks):
    before = listing(masks)
    for kind in ("parts", "cog"):
        with pytest.raises(OutputError, match="other things"):
            export(masks, masks, CONFIG.model_copy(update={"overwrite": True, "kind": kind}))
    assert listing(masks) == before
    (tmp_path / "m.geojson.aux.xml").write_text("mine")
    with pytest.raises(OutputError, match="left of another file"):
        export(masks, tmp_path / "m.geojson", CONFIG)
    assert (tmp_path / "m.geojson.aux.xml").read_text() == "mine"


def test_two_exports_to_one_output_are_not_both_done(tmp_path, masks):
    refused = []

    def second(event, _):
        if event is not None:
            other = CONFIG.model_copy(update={"overwrite": True, "connectivity": 8})
            with pytest.raises(StoreBusyError) as error:
                export(masks, tmp_path / "m.geojson", other)
            refused.append(str(error.value))

    assert export(masks, tmp_path / "m.geojson", CONFIG, hooks=Hooks(second)).finished
    assert refused


@pytest.mark.parametrize("name", ["m.tif", "m.ome.tif", "m.gpkg"])
def test_progress_counts_all_blocks_once(tmp_path, masks, name):
    seen = []
    hooks = Hooks(lambda event, progress: seen.append((event, progress)))
    found = export(masks, tmp_path / name, CONFIG, hooks=hooks)
    blocks = [progress for event, progress in seen if event is not None]
    assert [one.blocks_done for one in blocks] == list(range(1, found.blocks + 1))
    assert {one.blocks_total for one in blocks} == {found.blocks}
    assert all(a.pixels < b.pixels and a.seconds <= b.seconds for a, b in pairwise(blocks))
    joining = [progress for event, progress in seen[len(blocks) :] if event is None]
    assert joining[0].message == "joining the pieces"
    assert [one.blocks_done for one in joining[1:]] == sorted(one.blocks_done for one in joining[1:])
    assert joining[-1].blocks_done == joining[-1].blocks_total > 0


def test_an_error_while_joining_leaves_the_old_output(tmp_path, masks, monkeypatch):
    (tmp_path / "m.tif").write_text("old")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    again = CONFIG.model_copy(update={"overwrite": True})
    with monkeypatch.context() as patch:
        patch.setattr(raster_product, "write_cog", full)
        with pytest.raises(OutputError, match="full; free space"):
            export(masks, tmp_path / "m.tif", again)
    assert (tmp_path / "m.tif").read_text() == "old"
    hooks, seen = stopper(10**6)
    assert export(masks, tmp_path / "m.tif", again, hooks=hooks).finished
    assert seen == []  # all pieces were there
    assert (tmp_path / "m.tif").read_bytes()[:4] == b"II*\0"


def test_damage_is_told_and_can_be_mended(tmp_path, masks):
    shard = masks / "0" / "c" / "0" / "0"
    good = shard.read_bytes()
    shard.write_bytes(good[:100] + bytes([good[100] ^ 1]) + good[101:])
    with pytest.raises(DamageError, match=r"blocks failed.*damaged"):
        export(masks, tmp_path / "m.geojson", CONFIG)
    assert not (tmp_path / "m.geojson").exists()
    shard.write_bytes(good)
    assert export(masks, tmp_path / "m.geojson", CONFIG).finished


def test_an_output_that_is_there_is_kept(tmp_path, masks):
    (tmp_path / "m.tif").write_text("mine")
    with pytest.raises(
        OutputError, match="exists already; choose another output, remove it or give --overwrite"
    ):
        export(masks, tmp_path / "m.tif", CONFIG)
    assert (tmp_path / "m.tif").read_text() == "mine"


def test_parts_are_overwritten_whole(tmp_path, masks):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "old.tif").write_text("old")
    with pytest.raises(OutputError, match="other things"):  # such a folder may be anyone's
        export(masks, tmp_path / "parts", CONFIG.model_copy(update={"overwrite": True}))
    (tmp_path / "parts" / "mask.vrt").write_text("old")
    export(masks, tmp_path / "parts", CONFIG.model_copy(update={"overwrite": True}))
    assert not (tmp_path / "parts" / "old.tif").exists()


@pytest.mark.parametrize(
    ("out", "says"),
    [("m.xyz", "what to write"), ("none/m.tif", "the folder .* does not exist"), ("m.parts/", None)],
)
def test_names(tmp_path, masks, out, says):
    if says is None:
        assert export(masks, f"{tmp_path}/{out}", CONFIG).kind == "parts"
        return
    with pytest.raises((InputError, OutputError), match=says):
        export(masks, tmp_path / out, CONFIG)
    assert [entry.name for entry in tmp_path.iterdir()] == ["masks.zarr"]


def test_masks_that_are_none(tmp_path):
    with pytest.raises(MissingError):
        export(tmp_path / "none.zarr", tmp_path / "m.tif", CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_masks_that_are_not_finished(tmp_path, masks):
    Masks.open(masks).stamp({"plan": {}, "finished": False})
    with pytest.raises(InputError, match="is not finished; run its `unet-batch predict` again"):
        export(masks, tmp_path / "m.tif", CONFIG)


def test_an_error_before_the_first_block_leaves_nothing(tmp_path, masks):
    with pytest.raises(UnetBatchError, match="no such scheduler file"):
        export(
            masks, tmp_path / "m.tif", CONFIG.model_copy(update={"scheduler": str(tmp_path / "none.json")})
        )
    assert [entry.name for entry in tmp_path.iterdir()] == ["masks.zarr"]


@pytest.mark.parametrize(
    ("name", "library", "extra"),
    [("m.tif", "rasterio", "geo"), ("m.parquet", "pyarrow", "products"), ("m.gpkg", "pyogrio", "products")],
)
def test_a_missing_library_is_one_line(tmp_path, monkeypatch, name, library, extra):
    store_masks(tmp_path / "m", blobs(70, 70), georef=UTM)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"needs {library}; run: pip install 'unet-batch\[{extra}\]'"):
        export(tmp_path / "m", tmp_path / name, CONFIG)
    assert not (tmp_path / name).exists()


def test_by_command(tmp_path, masks, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["--set", "workers=0", "--set", "tile=64"]
    said = call("export", "masks.zarr", "m.tif", *words, "--quiet")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("m.tif: cog, ")
    assert call("export", "masks.zarr", "m.tif", *words).refusal.startswith("m.tif: exists already")
    told = call(
        "export", "masks.zarr", "m.tif", *words, "--quiet", "--overwrite", "--kind", "gpkg", "--json"
    ).json
    assert (told["kind"], told["finished"]) == ("gpkg", True)
    assert told["features"] > 10
    said = call("export", "masks.zarr", "m.geojson", *words, "--json-lines")
    assert said.out.splitlines()[-1].startswith('{"event": "summary"')
    assert call("export", "masks.zarr", "x.tif", "--set", "tile=100").refusal.startswith("--set: `tile`")

import io
import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save

from tests.cli.program import SERIAL, call, predict, settings
from tests.formats.foreign_files import sample
from tests.ingestion.test_malformed import NAMES, READABLE
from tests.worlds import noise, write_image, write_network

NOT_IMAGES = {
    "nothing.tif": ("no such", "check the path"),
    "text.tif": ("first bytes|no bytes|not a Zarr store", "convert it|ingest it|copy it again"),
    "empty.tif": ("first bytes|no bytes|not a Zarr store", "convert it|ingest it|copy it again"),
    "folder": ("is a folder|holds no Zarr", "give one file|check the path"),
    "group.zarr": ("without OME-Zarr multiscales|already Zarr", "give the path|use it directly"),
}


@pytest.fixture(autouse=True)
def rubbish(desk):
    (desk / "text.tif").write_text("not an image")
    (desk / "empty.tif").touch()
    (desk / "folder").mkdir()
    (desk / "group.zarr").mkdir()
    (desk / "group.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')


def matches(said, *patterns):
    return all(any(part in said for part in pattern.split("|")) for pattern in patterns)


@pytest.mark.parametrize("name", NOT_IMAGES)
@pytest.mark.parametrize("verb", ["info", "ingest", "predict"])
def test_what_is_no_image(refused, name, verb):
    runs = {
        "info": lambda: call("info", name),
        "ingest": lambda: call("ingest", name, "new.zarr"),
        "predict": lambda: predict(image=name),
    }
    said = refused(runs[verb])
    assert said.startswith(name)
    assert matches(said, *NOT_IMAGES[name]), said


@pytest.mark.parametrize("name", NAMES)
def test_malformed_files_are_told_or_refused(name):
    path = sample(f"i_malformed_tiff/{name}")
    answer = call("info", path, "--series", 0, "--json")
    if name in READABLE:
        assert (answer.code, answer.json["shape"][-2:]) == (0, list(READABLE[name][-2:]))
    else:
        assert answer.refusal.startswith(str(path))


@pytest.mark.parametrize("verb", [("status",), ("verify",), ("verify", "--untiled", 1), ("evaluate",)])
@pytest.mark.parametrize("name", ["nothing.zarr", "text.tif", "folder", "image.zarr"])
def test_what_is_no_mask_store(refused, name, verb):
    rest = ["image.zarr"] if verb == ("evaluate",) else []
    assert refused(call, *verb, name, *rest).startswith(name)


def test_images_that_do_not_fit_the_network(refused, desk):
    assert matches(refused(predict, image="grey.zarr"), "grey.zarr", "1 of its 1 channels", "takes 3")
    write_network(desk / "volume.safetensors", dims=3, in_channels=3, width=2, depth=1)
    assert matches(refused(predict, model="volume.safetensors"), "2 dimensions", "needs 3", "z axis")
    assert matches(refused(predict, "--model", "volume.safetensors"), "`dims` is 3", "one kind")


def test_axes_that_are_missing_or_wrong(refused, desk):
    write_image(desk / "plain.zarr", noise((3, 70, 80)), "cyx")
    file = desk / "plain.zarr" / "zarr.json"
    metadata = json.loads(file.read_text())
    del metadata["dimension_names"]
    file.write_text(json.dumps(metadata))
    for run in (lambda *a: call("info", "plain.zarr", *a), lambda *a: predict(*a, image="plain.zarr")):
        assert matches(refused(run), "3 axes without names", "--axes cyx")
        assert matches(refused(run, "--axes", "zcyx"), "3 axes", "names 4")
        assert matches(refused(run, "--axes", "qyx"), "t c z y x|t, c, z, y, x")
    assert matches(refused(predict, "--axes", "zyx"), "axes cyx, not zyx", "leave the axes out")


def saved(weights):
    file = io.BytesIO()
    torch.save(weights, file)
    return file.getvalue()


def without(weights, key):
    return {other: weight for other, weight in weights.items() if other != key}


# Made of the good checkpoint's bytes, weights and metadata.
NOT_CHECKPOINTS = {
    "cut.safetensors": (lambda b, w, m: b[: len(b) // 2], "bytes of weights; copy the file again"),
    "stub.safetensors": (lambda b, w, m: b[:20], "ends inside its header; copy the file again"),
    "text.safetensors": (lambda b, w, m: b"hello", "not a safetensors file; give one"),
    "pickle.safetensors": (lambda b, w, m: pickle.dumps(m), "is a pickle, which can run code and is not"),
    "saved.safetensors": (lambda b, w, m: saved(w), "is a zip (as torch.save writes), which can run code"),
    "bare.pt": (lambda b, w, m: saved(w), "no such file; describe bare.pt there"),
    "foreign.safetensors": (lambda b, w, m: save(w), "safetensors of another program"),
}
NOT_WEIGHTS = {
    "saved.pt": (lambda b, w, m: saved(w), "is a pickle (as torch.save writes), which can run code"),
    "nan.safetensors": (
        lambda b, w, m: save({**w, "head.bias": w["head.bias"] * float("nan")}, m),
        "weights or spec are not as they were saved; copy the file again",
    ),
    "lacking.safetensors": (
        lambda b, w, m: save(without(w, "head.bias"), m),
        "lacks head.bias; it belongs to another network",
    ),
}


@pytest.fixture
def bad_model(desk, request):
    """Name of a file that is no checkpoint, and what is said of it."""
    make, said = request.param[1]
    path = desk / "net.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    (desk / request.param[0]).write_bytes(make(path.read_bytes(), load_file(path), metadata))
    return request.param[0], said


@pytest.mark.parametrize("bad_model", NOT_CHECKPOINTS.items(), indirect=True, ids=NOT_CHECKPOINTS)
def test_files_that_are_no_checkpoints(refused, bad_model):
    name, said = bad_model
    line = refused(predict, model=name)
    assert line.startswith(name.partition(".")[0])
    assert said in line
    assert refused(call, "model", "info", name) == line
    assert refused(call, "plan", "image.zarr", "out.zarr", "--model", name) == line


@pytest.mark.parametrize("bad_model", NOT_WEIGHTS.items(), indirect=True, ids=NOT_WEIGHTS)
def test_weights_that_cannot_be_used(refused, desk, bad_model):
    name, said = bad_model
    (desk / "saved.yaml").write_text("architecture: exported\nin_channels: 3\nclasses: [a, b]\nmargin: 0\n")
    line = refused(predict, model=name)
    assert line.startswith(name)
    assert said in line


def test_checkpoints_that_are_not_there(refused):
    assert refused(predict, model="none.st") == "none.st: no such file; check the path of the checkpoint"
    assert refused(predict, model="folder") == "folder: cannot be read (Is a directory); give a file"


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("blok=64", "unknown key `blok`; did you mean `block`?"),
        ("skip_background={methd: variance}", "unknown key `skip_background.methd`; did you mean `method`?"),
        ("skip_background=variance", "`skip_background`: must be a mapping or 'tissue', not 'variance'"),
        ("block=abc", "`block`: must be 'auto' or a list, not 'abc'"),
        ("block=0", "`block`: must be 'auto' or greater than or equal to 1, not 0"),
        ("batch=-1", "`batch`"),
        ("precision=fp17", "`precision`: must be 'auto', 'fp32', 'bf16' or 'fp16', not 'fp17'"),
        ("tta=truns", "`tta`: must be true or false or 'turns', not 'truns'"),
        ("confidence=perhaps", "`confidence`: must be true or false, not 'perhaps'"),
        ("nodata=abc", "`nodata`: must be a valid number"),
        ("roi=[[5, 1], [0, 9]]", "roi range [5, 1] is empty; write [start, stop]"),
        ("roi=[[0, 1, 2], [0, 9]]", "`roi.0`: the list should have at most 2 items"),
        ("channels=[]", "`channels`"),
        ("levels=0", "`levels`"),
        ("block", "--set block: write key=value"),
        ("block=[1", "--set block=[1: the value is not YAML"),
        ("block.x=1", "block is not a mapping"),
        ("roi=[[0, 9]]", "roi has 1 ranges, the image has the axes yx"),
        ("roi=[[0, 9], [0, 999]]", "roi [0, 999] on axis x reaches past the image's 201 pixels"),
        ("channels=[0, 1]", "2 of its 3 channels would be used, but the network takes 3"),
        ("channels=[0, 1, 7]", "no channel 7; it has 0 to 2 (red, green, blue)"),
        ("channels=[red, green, blu]", "no channel 'blu'"),
        ("level=3", "no level 3; choose 0 to 0"),
        ("block=66", "`block` 66 is not a multiple of 4 (the network's poolings); use 64 or 68"),
        ("tile=[32, 33]", "`tile` 33 is not a multiple of 4 (the network's poolings); use 32 or 36"),
        ("block=[64, 64, 64]", "`block` has 3 numbers"),
        ("device=tpu", "tpu"),
        ("device=cuda:99", "use cpu or auto"),
        ("precision=fp16", "precision fp16: needs a CUDA device; use bf16 or fp32"),
        ("compression=rar", "zstd:1 to zstd:22, blosc-lz4 or none"),
        ("nodata={mask: nothing.zarr}", "nothing.zarr: no such path"),
        ("nodata={mask: grey.zarr}", "grey.zarr: shape (40, 50), the image has (150, 201); give a mask"),
        ("scheduler=nothing.json", "nothing.json: no such scheduler file"),
        ("scheduler=foo://bar", "foo://bar: no Dask scheduler answers"),
    ],
)
def test_settings_that_cannot_be(refused, item, said):
    line = refused(predict, using=(*SERIAL, item))
    assert said in line
    if item.partition("=")[0] not in ("scheduler", "device"):  # which a plan does not ask
        words = ["plan", "image.zarr", "out.zarr", "--model", "net.safetensors"]
        assert refused(call, *words, *settings(*SERIAL, item)) == line


def test_a_yaml_file_is_named_with_its_fault(refused, desk):
    texts = {
        "typo.yaml": ("blok: 64", "typo.yaml: unknown key `blok`; did you mean `block`?"),
        "broken.yaml": ("a: [1,", "broken.yaml: not YAML"),
        "list.yaml": ("- 1", "list.yaml: holds a list, not a mapping"),
    }
    for name, (text, said) in texts.items():
        (desk / name).write_text(text)
        assert said in refused(predict, "--config", name, using=())
    (desk / "bytes.yaml").write_bytes(bytes(range(256)))
    assert "bytes.yaml: cannot be read as text" in refused(predict, "--config", "bytes.yaml")
    assert "folder: cannot be read as text" in refused(predict, "--config", "folder")
    assert "none.yaml: no such file" in refused(predict, "--config", "none.yaml")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("in_channels: 1", "`classes`: is missing"),
        ("preset: unet-2016", "the presets are unet-2015, unet3d-2016, ternausnet-11"),
        ("preset: unet-2015\nwidht: 3", "unknown key `widht`; did you mean `width`?"),
        ("in_channels: 1\nclasses: [a]", "two or more classes"),
        ("in_channels: 1\nclasses: [a, b]\nnormalisation: {mean: [1], sdt: [2]}", "did you mean `std`?"),
        ("in_channels: 1\nclasses: [a, b]\ndims: 4", "`dims`: must be 2 or 3, not 4"),
    ],
)
def test_specs_that_no_network_can_follow(refused, desk, text, said):
    (desk / "bad.yaml").write_text(text)
    assert said in refused(call, "model", "info", "bad.yaml")
    assert said in refused(call, "model", "new", "bad.yaml", "new.safetensors")


def test_a_scheduler_that_nobody_answers_for(refused):
    said = refused(predict, "--scheduler", "tcp://127.0.0.1:9", using=("scheduler_seconds=0.5",))
    assert said.startswith("tcp://127.0.0.1:9: no Dask scheduler answers")
    assert "scheduler_seconds" in said


def test_a_truth_that_cannot_be_compared(refused, desk, truth):
    assert matches(refused(call, "evaluate", "done.zarr", "rgb.png"), "is not Zarr", "unet-batch ingest")
    assert matches(refused(call, "evaluate", "done.zarr", "grey.zarr"), "shape (40, 50)", "same image")
    write_image(desk / "many.zarr", truth + 7, "yx")
    assert matches(refused(call, "evaluate", "done.zarr", "many.zarr"), "holds label", "0 to 2")
    write_image(desk / "float.zarr", truth.astype(np.float32), "yx")
    assert matches(refused(call, "evaluate", "done.zarr", "float.zarr"), "float32", "integer labels")


def test_an_input_whose_chunk_is_damaged(refused, desk):
    (shard,) = (file for file in (desk / "image.zarr" / "0" / "c").rglob("*") if file.is_file())
    content = bytearray(shard.read_bytes())
    content[100] ^= 1
    shard.write_bytes(content)
    assert matches(refused(predict), "chunk", "is damaged", "restore the file")
    shutil.rmtree(desk / "image.zarr" / "0")
    assert matches(refused(predict), "image.zarr/0: ")

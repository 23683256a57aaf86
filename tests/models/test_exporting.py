"""Checkpoints leave for other programs and come back with equal logits."""

import io
import zipfile

import numpy as np
import pytest
import torch
import yaml

from tests.cli.program import call
from tests.worlds import write_exported, write_network
from unet_batch import export_network, import_network
from unet_batch.errors import CheckpointError, FormatError, InputError
from unet_batch.models.checkpoint import load_checkpoint
from unet_batch.models.exporting import run

KEYS = {"depth": 1, "width": 4, "norm": "batch", "blocks": "residual"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    path = tmp_path_factory.mktemp("nets") / "net.safetensors"
    return path, write_network(path, **KEYS)[2]


def logits(path, x):
    with torch.inference_mode():
        return load_checkpoint(path)[0](x)


@pytest.mark.parametrize("name", ["net.onnx", "net.pt2", "net.pt", "folder", "net.zip"])
def test_what_goes_out_comes_back_with_equal_logits(world, tmp_path, name):
    source, spec = world
    if name == "net.onnx":
        pytest.importorskip("onnxruntime")
    answer = call("model", "export", source, tmp_path / name)
    assert answer.code == 0, answer
    back = {"folder": "back.safetensors", "net.zip": "back.pt"}.get(name, f"back{(tmp_path / name).suffix}")
    given = {} if name in ("folder", "net.zip") else yaml.safe_load((tmp_path / "net.yaml").read_text())
    found = import_network(tmp_path / name, tmp_path / back, given)
    assert found.spec.classes == spec.classes
    assert found.spec.normalisation == spec.normalisation
    assert found.spec.receptive_field() == spec.receptive_field()
    size = spec.input_size(40)
    x = torch.randn(2, 1, size, size + spec.receptive_field().multiple)
    torch.testing.assert_close(logits(tmp_path / back, x), logits(source, x), rtol=1e-4, atol=1e-4)


def test_what_computes_something_else_is_not_kept(world, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr(run, "load_program", lambda path: lambda x: 2 * load_checkpoint(world[0])[0](x))
    answer = call("model", "export", world[0], tmp_path / "net.onnx")
    assert answer.code == 2
    assert "its logits differ by" in answer.err
    assert list(tmp_path.iterdir()) == []


def test_an_exported_network_has_no_folder(tmp_path):
    keys = {"classes": ["a", "b"], "margin": 1}
    source = write_exported(tmp_path / "net.pt", torch.nn.Conv2d(1, 2, 3, padding=1), **keys)
    with pytest.raises(InputError, match="is a program, no weights"):
        export_network(source, tmp_path / "folder")
    with pytest.raises(InputError, match="is of this form already"):
        export_network(source, tmp_path / "other.pt")


@pytest.fixture
def model(world, tmp_path):
    """A BioImage.IO model, and how to write it changed."""
    path = tmp_path / "model.zip"
    export_network(world[0], path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}

    def write(description=None, **changed):
        contents = {**files, **changed}
        if description is not None:
            values = yaml.safe_load(files["rdf.yaml"])
            description(values)
            contents["rdf.yaml"] = yaml.safe_dump(values).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in contents.items():
                archive.writestr(name, data)
        return path

    return write


def test_test_tensors_are_replayed(model, tmp_path):
    found = import_network(model(), tmp_path / "net.pt")
    assert any("test tensors were replayed: largest difference" in note for note in found.notes)
    target = io.BytesIO()
    np.save(target, np.ones((1, 3, 20, 20), np.float32))
    with pytest.raises(CheckpointError, match="test output"):
        import_network(model(**{"test_output.npy": target.getvalue()}), tmp_path / "net.pt")


def test_a_foreign_description_is_understood_or_refused_by_name(model, tmp_path):
    def foreign(steps):
        def change(values):
            del values["config"]
            values["inputs"][0]["preprocessing"] = steps

        return change

    fixed = {"id": "scale_linear", "kwargs": {"gain": 1 / 72, "offset": -125 / 72}}
    found = import_network(model(foreign([{"id": "ensure_dtype"}, fixed])), tmp_path / "net.pt")
    assert found.spec.normalisation.mean == pytest.approx([125])
    assert found.spec.normalisation.std == pytest.approx([72])
    assert found.spec.margin == 8
    with pytest.raises(InputError, match=r"preprocessing clip .* is not known; known are zero_mean"):
        import_network(model(foreign([{"id": "clip", "kwargs": {"min": 0}}])), tmp_path / "net.pt")


@pytest.mark.parametrize("place", ["https://example.org/weights.pt", "../weights.pt", "/etc/passwd"])
def test_files_elsewhere_are_neither_fetched_nor_opened(model, tmp_path, place):
    def change(values):
        values["weights"]["torchscript"]["source"] = place

    with pytest.raises(FormatError, match=r"which is not (fetched|in it)"):
        import_network(model(change), tmp_path / "net.pt")


@pytest.mark.parametrize(
    "member", ["../escaped.txt", "/escaped.txt", "a/../../escaped.txt", "..\\escaped.txt"]
)
def test_members_outside_the_zip_are_not_written(model, tmp_path, member):
    with pytest.raises(FormatError, match="lies outside; it is not opened"):
        import_network(model(**{member: b"x"}), tmp_path / "net.pt")
    assert not list(tmp_path.parent.rglob("escaped.txt"))


def test_torn_zips_and_other_weights(model, tmp_path):
    def keras(values):
        values["weights"] = {"keras_hdf5": {"source": "weights.pt"}}

    with pytest.raises(InputError, match="holds keras_hdf5, none of onnx, torchscript"):
        import_network(model(keras), tmp_path / "net.pt")
    path = model()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError, match=r"not a whole zip|holds no rdf.yaml"):
        import_network(path, tmp_path / "net.pt")

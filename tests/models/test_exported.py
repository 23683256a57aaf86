"""Networks of other programs: loaded with the spec beside them, or refused."""

import io
import json
import os
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from unet_batch.errors import CheckpointError, InputError, MissingError
from unet_batch.models.checkpoint import file_hash, load_checkpoint, read_spec
from unet_batch.models.device import prepare
from unet_batch.models.feed import Feed
from unet_batch.models.runtime import Runtime

YAML = "architecture: exported\nin_channels: 1\nclasses: [a, b]\nmargin: 1\nexact: true\n"


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU()).eval()


def write_pt2(path, module):
    size = torch.export.Dim.AUTO
    shapes = ({2: size, 3: size},)
    torch.export.save(torch.export.export(module, (torch.zeros(1, 1, 16, 16),), dynamic_shapes=shapes), path)


def write_torchscript(path, module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.trace(module, torch.zeros(1, 1, 16, 16)), path)


@pytest.fixture(params=[("net.pt2", write_pt2), ("net.pt", write_torchscript), ("net.ts", write_torchscript)])
def exported(request, tmp_path):
    name, write = request.param
    write(tmp_path / name, network())
    (tmp_path / "net.yaml").write_text(YAML)
    return tmp_path / name


@pytest.mark.parametrize("backend", ["eager", "openvino"])
def test_an_exported_network_computes_the_same(exported, backend):
    model, spec = load_checkpoint(exported)
    if backend == "openvino":
        pytest.importorskip("openvino")
    x = torch.randn(1, 1, 24, 20)
    ready = prepare(model, spec, Runtime("cpu", "fp32", backend), Feed(x.shape))
    with torch.inference_mode():
        torch.testing.assert_close(ready(x), network()(x))
    assert (spec.receptive_field().margin, spec.receptive_field().exact) == (1, True)


def test_the_yaml_belongs_to_the_hash(exported):
    before = file_hash(exported)
    exported.with_suffix(".yaml").write_text(YAML.replace("margin: 1", "margin: 2"))
    assert file_hash(exported) != before


def test_shapes_and_classes_are_tried_out(exported):
    model, spec = load_checkpoint(exported)
    with pytest.raises(InputError, match=r"does not take \(1, 3, 16, 16\)"):
        prepare(model, spec, Runtime("cpu", "fp32", "eager"), Feed((1, 3, 16, 16)))
    wrong = spec.model_copy(update={"classes": ("a", "b", "c")})
    with pytest.raises(InputError, match=r"gives \(1, 2\).*says \(1, 3\)"):
        prepare(model, wrong, Runtime("cpu", "fp32", "eager"), Feed((1, 1, 16, 16)))


def test_the_spec_must_be_there_and_fit(exported):
    yaml = exported.with_suffix(".yaml")
    yaml.write_text("in_channels: 1\nclasses: [a, b]\n")
    with pytest.raises(CheckpointError, match="architecture: exported"):
        read_spec(exported)
    yaml.unlink()
    with pytest.raises(MissingError, match=r"net.yaml: no such file; describe net"):
        load_checkpoint(exported)


@pytest.mark.parametrize("suffix", [".pt2", ".pt"])
def test_other_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    path.with_suffix(".yaml").write_text(YAML)
    with pytest.raises(MissingError):
        load_checkpoint(path)
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="not an exported network"):
        load_checkpoint(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/code/a.py", "1")
    with pytest.raises(CheckpointError, match="torch cannot load it"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "payload", [{"path_name": "opaque_obj_0"}, {"path_name": "weight_0", "use_pickle": True}]
)
def test_pickled_parts_of_a_pt2_are_refused(tmp_path, payload):
    path = tmp_path / "net.pt2"
    path.with_suffix(".yaml").write_text(YAML)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "net/data/constants/model_constants_config.json", json.dumps({"config": {"x": payload}})
        )
    with pytest.raises(CheckpointError, match="pickled objects, which are never opened"):
        load_checkpoint(path)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_among_the_sample_inputs_is_not_opened(tmp_path):
    """Torch itself falls back to a full unpickle there."""
    clean, path, crater = tmp_path / "clean.pt2", tmp_path / "net.pt2", tmp_path / "crater"
    path.with_suffix(".yaml").write_text(YAML)
    write_pt2(clean, network())
    pickled = io.BytesIO()
    torch.save(Bomb(crater), pickled)
    with zipfile.ZipFile(clean) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            sample = "sample_inputs" in name
            target.writestr(name, pickled.getvalue() if sample else source.read(name))
    with pytest.raises(CheckpointError, match="torch cannot load it"):
        load_checkpoint(path)
    assert not crater.exists()
    assert "TORCH_FORCE_WEIGHTS_ONLY_LOAD" not in os.environ

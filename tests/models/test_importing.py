"""Networks of other programs and libraries become checkpoints, measured, with equal answers."""

import importlib
import json
import os
import pickle
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file
from torch import nn

from tests.cli.program import call, settings
from tests.worlds import write_exported
from unet_batch import import_network
from unet_batch.errors import CheckpointError, FormatError, InputError, MissingError, SpecError
from unet_batch.extras import has
from unet_batch.models.build import build
from unet_batch.models.checkpoint import load_checkpoint
from unet_batch.models.library import FORBIDDEN, library_network
from unet_batch.models.spec import ModelSpec

SMALL = {"in_channels": 1, "classes": ["a", "b"], "width": 4, "depth": 1, "padding": "same", "norm": "batch"}
SMP = {
    "architecture": "smp",
    "name": "Unet",
    "encoder": "resnet18",
    "in_channels": 3,
    "classes": ["a", "b"],
    "options": {"encoder_depth": 3, "decoder_channels": [16, 8, 8]},
    "margin": 96,
    "multiple": 8,
    "exact": True,
}


class Small(nn.Module):
    def __init__(self, end=None):
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.end = nn.Conv2d(3, 2, 5, padding=2), end or (lambda y: y)

    def forward(self, x):
        return self.end(self.convolution(x))


def answers(path, x):
    with torch.inference_mode():
        return load_checkpoint(path)[0](x)


def write_onnx(path, network, x):
    torch.onnx.export(
        network.eval(), (x,), path, dynamo=False, input_names=["x"], output_names=["y"],
        dynamic_axes={"x": {0: "n", 2: "h", 3: "w"}, "y": {0: "n", 2: "h", 3: "w"}},
    )  # fmt: skip
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("suffix", [".pt", ".onnx"])
def test_a_program_comes_in_with_what_was_measured(tmp_path, suffix):
    network, x = Small(), torch.randn(1, 3, 40, 24)
    source = tmp_path / f"theirs{suffix}"
    if suffix == ".onnx":
        pytest.importorskip("onnxruntime")
        write_onnx(source, network, x)
    else:
        write_exported(source, network, in_channels=3)
    found = import_network(source, tmp_path / f"net{suffix}", {"classes": ["sky", "road"]})
    spec = found.spec
    assert (spec.in_channels, spec.classes, spec.dims) == (3, ("sky", "road"), 2)
    assert (spec.margin, spec.multiple, spec.exact) == (2, 1, True)
    assert ModelSpec.from_yaml(tmp_path / "net.yaml") == spec
    torch.testing.assert_close(answers(found.path, x), network(x).detach(), rtol=1e-5, atol=1e-5)
    assert any("normalisation is none" in note for note in found.notes)


@pytest.mark.parametrize(
    ("end", "wanted", "said"),
    [
        (lambda y: {"aux": y, "out": y}, {"output": "out"}, "that counts is out"),
        (lambda y: y.softmax(dim=1), {"activation": "softmax"}, "end in a softmax"),
        (lambda y: y.sigmoid(), {"activation": "sigmoid", "head": "multilabel"}, "end in a sigmoid"),
        (lambda y: nn.functional.avg_pool2d(y, 4), {"output_scale": 4, "multiple": 4, "margin": 8}, "normal"),
        (lambda y: y - y.mean(dim=(2, 3), keepdim=True), {"exact": False}, "tiles are blended"),
    ],
    ids=["dict", "softmax", "sigmoid", "quarter", "statistics"],
)
def test_what_a_program_gives_is_measured(tmp_path, end, wanted, said):
    source = write_exported(tmp_path / "theirs.pt", Small(end), in_channels=3)
    found = import_network(source, tmp_path / "net.pt")
    assert {key: getattr(found.spec, key) for key in wanted} == wanted
    assert any(said in note for note in found.notes)


def test_what_the_caller_says_counts(tmp_path):
    source = write_exported(tmp_path / "theirs.pt", Small(lambda y: y.sigmoid()), in_channels=3)
    words = settings(
        "activation=none", "margin=16", "multiple=8", "classes=[x, y]", "normalisation={mean: [1], std: [2]}"
    )
    answer = call("model", "import", source, tmp_path / "net.pt", *words)
    assert answer.code == 0, answer
    spec = ModelSpec.from_yaml(tmp_path / "net.yaml")
    assert (spec.activation, spec.margin, spec.multiple, spec.classes) == ("none", 16, 8, ("x", "y"))
    assert yaml.safe_load(answer.out.partition("\n")[2])["margin"] == 16


@pytest.mark.parametrize("wrap", ["plain", "lightning", "module", "safetensors"])
def test_state_dicts_find_their_network(tmp_path, wrap):
    network, x = build(ModelSpec(**SMALL), 3).eval(), torch.randn(1, 1, 16, 16)
    tensors = network.state_dict()
    path = tmp_path / "theirs.pth"
    match wrap:
        case "lightning":
            torch.save({"state_dict": {f"model.net.{k}": v for k, v in tensors.items()}, "epoch": 3}, path)
        case "module":
            torch.save({f"module.{k}": v for k, v in tensors.items()}, path)
        case "safetensors":
            path = path.with_suffix(".safetensors")
            save_file(dict(tensors), path)
        case _:
            torch.save(tensors, path)
    found = import_network(path, tmp_path / "net.safetensors", SMALL)
    assert torch.equal(answers(found.path, x), network(x).detach())


def test_the_cure_for_a_pickle_works(tmp_path):
    network = build(ModelSpec(**SMALL), 3)
    torch.save(network.state_dict(), tmp_path / "net.pth")
    (tmp_path / "SPEC.yaml").write_text(yaml.safe_dump(SMALL))
    refused = call("model", "info", tmp_path / "net.pth")
    assert refused.code == 2
    cure = refused.refusal.partition("unet-batch ")[2].split()
    given = {"NET.safetensors": tmp_path / "NET.safetensors", "SPEC.yaml": tmp_path / "SPEC.yaml"}
    assert call(*(given.get(word, word) for word in cure)).code == 0
    assert call("model", "info", tmp_path / "NET.safetensors").code == 0


def test_weights_that_do_not_fit_are_named(tmp_path):
    tensors = build(ModelSpec(**SMALL)).state_dict()
    path, out = tmp_path / "theirs.pth", tmp_path / "net.safetensors"
    torch.save({k: v for k, v in tensors.items() if k != "head.bias"}, path)
    with pytest.raises(CheckpointError, match=r"head.bias is not in it"):
        import_network(path, out, SMALL)
    torch.save({**tensors, "extra.weight": torch.zeros(2)}, path)
    assert import_network(path, out, SMALL).notes == ("not taken over: extra.weight",)
    with pytest.raises(CheckpointError, match=r"has shape \[.*the network of the spec \[.*mend the spec"):
        import_network(path, out, {**SMALL, "width": 8})
    with pytest.raises(InputError, match="say what network they are of: --spec"):
        import_network(path, out)
    with pytest.raises(InputError, match=r"let the name end in .safetensors"):
        import_network(path, tmp_path / "net.pt2", SMALL)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("name", ["net.pth", "net.pt", "net.ckpt"])
def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path, name, legacy):
    crater, path = tmp_path / "crater", tmp_path / name
    torch.save(
        {"weight": torch.zeros(2), "bomb": Bomb(crater)}, path, _use_new_zipfile_serialization=not legacy
    )
    with pytest.raises(CheckpointError, match=r"is not run|more than tensors"):
        import_network(path, tmp_path / "net.safetensors", SMALL)
    path.write_bytes(pickle.dumps(Bomb(crater)))
    with pytest.raises(CheckpointError):
        import_network(path, tmp_path / "net.safetensors", SMALL)
    assert not crater.exists()


class AttributeDict(dict):
    """As Lightning keeps settings beside weights."""


def test_settings_beside_weights_are_not_made(tmp_path, monkeypatch):
    network = build(ModelSpec(**SMALL), 0)
    monkeypatch.setattr(AttributeDict, "__module__", "lightning")
    monkeypatch.setitem(sys.modules, "lightning", sys.modules[__name__])
    path = tmp_path / "theirs.ckpt"
    torch.save({"state_dict": network.state_dict(), "hyper_parameters": AttributeDict(a=1)}, path)
    monkeypatch.undo()  # no such package here
    assert import_network(path, tmp_path / "net.safetensors", SMALL).notes == ()


def test_damaged_and_missing_sources(tmp_path):
    with pytest.raises(MissingError):
        import_network(tmp_path / "none.pth", tmp_path / "net.safetensors")
    path = tmp_path / "theirs.pth"
    torch.save(build(ModelSpec(**SMALL)).state_dict(), path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match="cannot be read"):
        import_network(path, tmp_path / "net.safetensors", SMALL)
    (tmp_path / "folder").mkdir()
    with pytest.raises(FormatError, match="a folder of no known kind"):
        import_network(tmp_path / "folder", tmp_path / "net.safetensors")
    (tmp_path / "folder" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(FormatError, match=r"no config.json of segmentation_models_pytorch"):
        import_network(tmp_path / "folder", tmp_path / "net.safetensors")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("place", ["../secret.bin", "/etc/passwd", ""])
def test_onnx_weights_outside_the_folder_are_refused(tmp_path, place):
    onnx = pytest.importorskip("onnx")
    folder = tmp_path / "inner"
    folder.mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    source = write_onnx(folder / "net.onnx", Small(), torch.randn(1, 3, 16, 16))
    model = onnx.load(source)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", place
    source.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="not in its own folder"):
        import_network(source, tmp_path / "net.onnx")
    source.write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match="not an ONNX file"):
        import_network(source, tmp_path / "net.onnx")


@pytest.fixture(scope="module")
def smp():
    if not has("timm"):
        pytest.skip("needs the extra smp")
    library_network(ModelSpec(**SMP))  # makes torchvision importable beside a torch for CPUs
    return importlib.import_module("segmentation_models_pytorch")


def theirs(smp):
    torch.manual_seed(0)
    return smp.Unet("resnet18", encoder_weights=None, classes=2, **SMP["options"]).eval()


@pytest.mark.parametrize("form", ["folder", "state dict"])
def test_networks_of_smp_come_in_with_equal_logits(smp, tmp_path, form):
    network, x = theirs(smp), torch.randn(2, 3, 32, 40)
    if form == "folder":
        source, given = tmp_path / "saved", {key: SMP[key] for key in ("margin", "multiple", "exact")}
        network.save_pretrained(source)
    else:
        source, given = (
            tmp_path / "theirs.pth",
            {key: SMP[key] for key in SMP if key not in ("classes", "in_channels")},
        )
        torch.save(network.state_dict(), source)
    found = import_network(source, tmp_path / "net.safetensors", given)
    assert (found.spec.name, found.spec.encoder, found.spec.in_channels) == ("Unet", "resnet18", 3)
    assert found.spec.classes == ("background", "class_1")
    with torch.inference_mode():
        assert torch.equal(answers(found.path, x), network(x))


def test_an_smp_network_is_measured_trains_and_takes_an_encoder(smp, tmp_path):
    spec = {key: SMP[key] for key in SMP if key not in ("margin", "multiple", "exact")}
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec))
    encoder = theirs(smp).encoder.state_dict()
    torch.save(encoder, tmp_path / "resnet.pth")
    answer = call(
        "model",
        "new",
        tmp_path / "spec.yaml",
        tmp_path / "net.safetensors",
        "--encoder",
        tmp_path / "resnet.pth",
    )
    assert answer.code == 0, answer
    network, found = load_checkpoint(tmp_path / "net.safetensors")
    assert (found.margin, found.multiple, found.exact) == (72, 8, True)
    own = network.network.encoder.state_dict()
    assert all(torch.equal(own[key], value) for key, value in encoder.items())
    network.train()(torch.randn(2, 3, 32, 32)).mean().backward()
    assert network.network.encoder.conv1.weight.grad.any()


def test_no_library_network_fetches_or_is_of_another_kind():
    for key in sorted(FORBIDDEN):
        with pytest.raises(SpecError, match=f"{key} would fetch weights"):
            library_network(ModelSpec(**{**SMP, "options": {key: "imagenet"}}))
    with pytest.raises(SpecError, match="choose among Unet, UnetPlusPlus"):
        library_network(ModelSpec(**{**SMP, "name": "os"}))
    assert "HF_HUB_OFFLINE" not in os.environ


def test_zip_members_are_not_written_anywhere(tmp_path):
    path = tmp_path / "net.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../escaped/code/a.py", "1")
    with pytest.raises(CheckpointError):
        import_network(path, tmp_path / "out.pt")
    assert not (tmp_path.parent.parent / "escaped").exists()

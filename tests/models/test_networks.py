"""Published sizes and counts, initialisation, heads; the encoder of TernausNet from a file."""

import importlib
import math
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from unet_batch.errors import CheckpointError, SpecError
from unet_batch.models import heads
from unet_batch.models.build import build
from unet_batch.models.folding import fold_batch_norm
from unet_batch.models.library import library_network
from unet_batch.models.spec import ModelSpec
from unet_batch.models.ternausnet import load_encoder

VGG11 = {
    "features.0": (64, 3),
    "features.3": (128, 64),
    "features.6": (256, 128),
    "features.8": (256, 256),
    "features.11": (512, 256),
    "features.13": (512, 512),
    "features.16": (512, 512),
    "features.18": (512, 512),
}


def on_meta(spec):
    with torch.device("meta"):
        return build(spec)


def parameters(model):
    norms = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d)
        for parameter in module.parameters()
    }
    return sum(parameter.numel() for parameter in model.parameters() if id(parameter) not in norms)


def test_the_u_net_of_2015():
    model = on_meta(ModelSpec(preset="unet-2015"))
    assert parameters(model) == 31_030_658
    assert model(torch.zeros(1, 1, 572, 572, device="meta")).shape == (1, 2, 388, 388)


def test_the_3d_u_net_of_2016():
    model = on_meta(ModelSpec(preset="unet3d-2016")).eval()
    assert parameters(model) == 19_069_955
    assert model(torch.zeros(1, 3, 116, 132, 132, device="meta")).shape == (1, 3, 28, 44, 44)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("norm", ["none", "batch", "instance", "group"])
@pytest.mark.parametrize(("growth", "blocks"), [("after_pool", "plain"), ("before_pool", "residual")])
def test_every_variant_gives_its_classes(dims, norm, growth, blocks):
    spec = ModelSpec(
        dims=dims, in_channels=2, classes=["a", "b", "c"], width=3, depth=2, norm=norm, growth=growth,
        up="interpolated", up_channels="kept", up_bias=False, blocks=blocks,
    )  # fmt: skip
    size = spec.input_size(9)
    logits = build(spec).eval()(torch.randn(2, 2, *[size] * dims))
    assert logits.shape == (2, 3, *[spec.receptive_field().output_size(size)] * dims)
    assert logits.isfinite().all()


def test_initial_weights_follow_he():
    torch.manual_seed(0)
    model = build(ModelSpec(in_channels=1, classes=["a", "b"], width=32, depth=2))
    inner, up = model.encoder[1][2], model.up[0]
    assert inner.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.02)
    assert up.weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.03)
    assert not inner.bias.any()


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_a_residual_block_begins_as_its_shortcut_and_learns(norm):
    spec = ModelSpec(
        in_channels=1, classes=["a", "b"], width=4, depth=1, padding="valid", norm=norm, blocks="residual"
    )
    block, x = build(spec, 0).bottom, torch.rand(2, 4, 12, 12)
    cropped = block.shortcut(x[..., 2:-2, 2:-2])
    torch.testing.assert_close(block(x), cropped.relu())
    block(x).sum().backward()
    assert block.body[-1].weight.grad.any()


def test_folding_reaches_residual_blocks():
    spec = ModelSpec(in_channels=1, classes=["a", "b"], width=4, depth=1, norm="batch", blocks="residual")
    model, x = build(spec, 0), torch.randn(2, 1, 40, 40)
    for norm in (module for module in model.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
    model(x)  # its statistics now differ from the identity's
    folded = fold_batch_norm(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    torch.testing.assert_close(folded(x), model.eval()(x), rtol=1e-4, atol=1e-4)


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    spec = ModelSpec(in_channels=1, classes=["a", "b"], width=4, depth=1, padding="same", dropout=0.5)
    model, x = build(spec), torch.randn(1, 1, 16, 16)
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_exported_networks_are_not_built():
    with pytest.raises(SpecError, match="load_checkpoint"):
        build(ModelSpec(architecture="exported", in_channels=1, classes=["a", "b"], margin=1))


def test_ternausnet_keeps_the_size_and_takes_other_channels():
    model = on_meta(ModelSpec(preset="ternausnet-11", in_channels=5))
    assert model(torch.zeros(1, 5, 64, 96, device="meta")).shape == (1, 2, 64, 96)


@pytest.fixture
def encoder_file(tmp_path):
    tensors = {"classifier.0.weight": torch.zeros(2)}
    for number, (name, shape) in enumerate(VGG11.items()):
        tensors[f"{name}.weight"] = torch.full((*shape, 3, 3), number + 0.5)
        tensors[f"{name}.bias"] = torch.full(shape[:1], -float(number))

    def write(**changes):
        path = tmp_path / "vgg11.safetensors"
        kept = {**tensors, **changes}
        save_file({key: value for key, value in kept.items() if value is not None}, path)
        return path

    return write


def test_the_encoder_takes_torchvision_keys(encoder_file):
    model = build(ModelSpec(preset="ternausnet-11", width=1))
    load_encoder(model, encoder_file())
    for number, name in enumerate(VGG11):
        layer = model.get_submodule(name)
        assert (layer.weight == number + 0.5).all()
        assert (layer.bias == -number).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"features.8.bias": None}, "lacks features.8.bias"),
        ({"features.0.weight": torch.zeros(64, 1, 3, 3)}, r"features.0.weight has shape \[64, 1, 3, 3\]"),
    ],
)
def test_an_encoder_that_does_not_fit_is_named(encoder_file, changes, message):
    with pytest.raises(CheckpointError, match=message):
        load_encoder(build(ModelSpec(preset="ternausnet-11", width=1)), encoder_file(**changes))


def test_an_encoder_needs_its_network_and_no_pickle(encoder_file, tmp_path):
    with pytest.raises(CheckpointError, match="only architecture ternausnet"):
        load_encoder(build(ModelSpec(in_channels=3, classes=["a", "b"], width=1)), encoder_file())
    path = tmp_path / "vgg11.pth"
    path.write_bytes(pickle.dumps({"features.0.weight": 1}))
    with pytest.raises(CheckpointError, match=r"is a pickle.*unet-batch model import"):
        load_encoder(build(ModelSpec(preset="ternausnet-11", width=1)), path)


def test_the_encoder_gives_torchvisions_own_features(tmp_path):
    library_network(
        ModelSpec(architecture="smp", name="Unet", encoder="resnet18", in_channels=3, classes=["a", "b"])
    )
    torchvision = importlib.import_module("torchvision")
    torch.manual_seed(0)
    theirs = torchvision.models.vgg11(weights=None).eval()
    save_file(theirs.state_dict(), tmp_path / "vgg11.safetensors")
    model = build(ModelSpec(preset="ternausnet-11", width=1)).eval()
    load_encoder(model, tmp_path / "vgg11.safetensors")
    x = torch.randn(1, 3, 64, 96)
    with torch.inference_mode():
        assert torch.equal(model.features(x), theirs.features(x))


def test_multiclass_head():
    logits = torch.tensor([[[1.0, 0.0]], [[3.0, 0.0]], [[2.0, 1.0]]]).permute(1, 0, 2)[None, 0]
    assert heads.labels(logits, "multiclass").tolist() == [[1, 2]]
    assert heads.labels(logits, "multiclass").dtype == torch.uint8
    assert heads.labels(torch.zeros(1, 251, 1), "multiclass").dtype == torch.int32
    assert heads.probabilities(logits, "multiclass").sum(dim=1).flatten().tolist() == pytest.approx([1, 1])


def test_multilabel_and_regression_heads():
    logits = torch.tensor([[[-1.0, 0.0, 2.0]]])
    assert heads.labels(logits, "multilabel").tolist() == [[[0, 0, 1]]]
    assert heads.probabilities(logits, "multilabel")[0, 0, 1] == 0.5
    assert torch.equal(heads.labels(logits, "regression"), logits)
    assert torch.equal(heads.probabilities(logits, "regression"), logits)


@pytest.mark.parametrize("deep", [2, 3])
def test_gradients_of_thin_volumes_hold_no_stray_memory(deep):
    """torch's own bf16 gradient of a volume two voxels deep was NaN in most of fifteen tries."""
    torch.manual_seed(0)
    spec = ModelSpec(
        dims=3, in_channels=1, classes=("a", "b"), width=16, depth=1, padding="same", norm="batch"
    )
    model, x = build(spec), torch.randn(2, 1, 2 * deep, 8, 8)
    gradients = []
    for _ in range(5):
        model.zero_grad()
        stray = [torch.full((n,), math.nan) for n in (432, 27 * 16 * 32, 27 * 32 * 32, 10**6)]
        del stray  # what is allocated next holds these
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(x).float().square().mean()
        loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    for again in gradients:
        torch.testing.assert_close(again, gradients[0], rtol=1e-2, atol=1e-3)

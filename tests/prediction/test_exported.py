"""Networks of other programs through predict: what they give is honoured, or refused before any block."""

import numpy as np
import pytest
import torch
from torch import nn

from tests.cli.program import call, settings
from tests.worlds import noise, write_exported, write_image
from unet_batch.engine.progress import Hooks
from unet_batch.errors import InputError
from unet_batch.prediction import autotuner
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.prediction.untiled import compare_untiled
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

HERE = PredictConfig(block=32, tile=16, workers=0, threads=1, precision="fp32", backend="eager", device="cpu")
SHAPE = (60, 70)
FIXED = {"normalisation": {"mean": [125], "std": [72]}}


class Network(nn.Module):
    """Logits of a 5-px convolution, and what ``end`` makes of them."""

    def __init__(self, end, classes=2):
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.end = nn.Conv2d(1, classes, 5, padding=2), end

    def forward(self, x):
        return self.end(self.convolution(x))


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return write_image(tmp_path_factory.mktemp("image") / "image.zarr", noise(SHAPE), "yx")


def masks_of(image, model, out, hooks=None):
    predict(image, out, model, HERE, hooks=hooks or Hooks())
    return Masks.open(out).read(Box.of_shape(SHAPE))


@pytest.mark.parametrize(
    ("end", "keys"),
    [
        (lambda y: y.softmax(dim=1), {"activation": "softmax"}),
        (lambda y: y.argmax(dim=1), {"activation": "argmax"}),
        (lambda y: {"out": y, "aux": 2 * y}, {"output": "out"}),
        (lambda y: (y[:, :1], y), {"output": 1}),
        (lambda y: [y], {}),
    ],
    ids=["softmax", "argmax", "dict", "tuple", "list"],
)
def test_classes_are_those_of_the_logits(image, tmp_path, end, keys):
    basis = {"classes": ["a", "b"], "margin": 2, "exact": True, **FIXED}
    plain = write_exported(tmp_path / "plain.pt", Network(lambda y: y), **basis)
    other = write_exported(tmp_path / "other.pt", Network(end), **basis, **keys)
    wanted = masks_of(image, plain, tmp_path / "plain.zarr")
    assert 0 < wanted.mean() < 1
    assert np.array_equal(masks_of(image, other, tmp_path / "other.zarr"), wanted)


def test_a_sigmoid_is_remarked_on_and_honoured_once_named(image, tmp_path):
    network = Network(lambda y: torch.sigmoid(y - 1), classes=1)
    basis = {"classes": ["road"], "head": "multilabel", "margin": 2, "exact": True, **FIXED}
    told = []
    hooks = Hooks(lambda event, progress: told.append(progress.message))
    wrong = masks_of(image, write_exported(tmp_path / "a.pt", network, **basis), tmp_path / "a.zarr", hooks)
    assert wrong.all()
    assert any("write `activation: sigmoid`" in line for line in told)
    right = write_exported(tmp_path / "b.pt", network, **basis, activation="sigmoid")
    found = masks_of(image, right, tmp_path / "b.zarr")
    logits = write_exported(tmp_path / "c.pt", Network(lambda y: y - 1, classes=1), **basis)
    assert np.array_equal(found, masks_of(image, logits, tmp_path / "c.zarr"))
    assert 0 < found.mean() < 1


def test_a_quarter_is_refused_or_enlarged_without_seams(image, tmp_path):
    network = nn.Sequential(Network(lambda y: y), nn.AvgPool2d(4))
    basis = {"classes": ["a", "b"], "margin": 8, "multiple": 8, "exact": True, **FIXED}
    refused = write_exported(tmp_path / "a.pt", network, **basis)
    with pytest.raises(InputError, match=r"gives 8 px for an input of 32 px.*`output_scale: 4`"):
        predict(image, tmp_path / "a.zarr", refused, HERE)
    assert not (tmp_path / "a.zarr").exists()
    taken = write_exported(tmp_path / "b.pt", network, **basis, output_scale=4)
    assert 0 < masks_of(image, taken, tmp_path / "b.zarr").mean() < 1
    found = compare_untiled(tmp_path / "b.zarr", 4, image=image, model=taken, config=HERE)
    assert (found.untiled_label_diff, found.fault) == (0, "")


def test_a_wrong_margin_is_refused_and_verify_finds_it_in_an_older_store(image, tmp_path, monkeypatch):
    basis = {"classes": ["a", "b"], "margin": 0, "exact": True, **FIXED}
    model = write_exported(tmp_path / "net.pt", Network(lambda y: 30 * y), **basis)
    with pytest.raises(InputError, match="is not exact with margin 0 and multiple 1; measured: margin: 2"):
        predict(image, tmp_path / "out.zarr", model, HERE)
    monkeypatch.setattr(autotuner, "_checked", lambda *_: [])  # as before margins were tried
    predict(image, tmp_path / "out.zarr", model, HERE)
    words = ["--untiled", 4, "--image", image, "--model", model, *settings("workers=0", "device=cpu")]
    answer = call("verify", tmp_path / "out.zarr", *words, "--json")
    assert answer.code == 3
    assert not answer.json["ok"]
    assert "margin 0 and multiple 1; measured: margin: 2" in answer.json["untiled_fault"]

# Arrays in, arrays out: the same labels as a store gets, for numpy, Dask and xarray, checkpoints and modules.

import subprocess
import sys

import dask.array as da
import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import unet_batch
from tests.worlds import noise, write_image, write_network
from unet_batch.errors import InputError
from unet_batch.models.build import build
from unet_batch.models.spec import ModelSpec
from unet_batch.prediction import resources
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

SERIAL = {"workers": 0, "threads": 1, "backend": "eager", "precision": "fp32", "block": 64, "tile": 32}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A checkpoint, pixels of two channels, and the labels that `predict` gives a store of them."""
    folder = tmp_path_factory.mktemp("arrays")
    path, _, _ = write_network(
        folder / "net.safetensors", in_channels=2, depth=1, normalisation={"percentiles": [1, 99]}
    )
    pixels = noise((2, 100, 90))
    write_image(folder / "image.zarr", pixels, "cyx")
    unet_batch.predict(folder / "image.zarr", folder / "out.zarr", path, SERIAL)
    return path, pixels, Masks.open(folder / "out.zarr").read(Box((0, 0), (100, 90)))[0]


def network(path, **more):
    return unet_batch.Network(path, config={**SERIAL, **more})


def test_labels_are_those_of_a_store(world):
    path, pixels, expected = world
    assert len(np.unique(expected)) == 3
    found = network(path)(pixels, axes="cyx")
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)
    assert np.array_equal(unet_batch.predict(pixels, path, config=SERIAL), expected)


def test_axes_may_lie_anyhow(world):
    path, pixels, expected = world
    net = network(path)
    assert np.array_equal(net(np.moveaxis(pixels, 0, -1)), expected)
    assert np.array_equal(net(pixels.transpose(2, 0, 1), axes="xcy"), expected.T)


def test_dask_and_xarray_come_back_as_they_came(world):
    path, pixels, expected = world
    net = network(path)
    lazy = net(da.from_array(pixels, chunks=(2, 50, 30)))
    assert lazy.chunks == ((50, 50), (30, 30, 30))
    assert np.array_equal(lazy.compute(), expected)
    named = xr.DataArray(
        pixels, dims=("band", "y", "x"), coords={"y": np.arange(100) * 0.5, "band": ["r", "g"]}
    )
    labels, chances = net(named, probabilities=True)
    assert labels.dims == ("y", "x")
    assert np.array_equal(labels.y, named.y)
    assert np.array_equal(labels, expected)
    assert chances.dims == ("band", "y", "x")
    assert list(chances.band.values) == labels.attrs["classes"] == ["a", "b", "c"]


def test_probabilities_are_those_that_decide(world):
    path, pixels, expected = world
    labels, chances = network(path)(pixels, probabilities=True)
    assert chances.shape == (3, 100, 90)
    assert np.allclose(chances.sum(axis=0), 1, atol=1e-5)
    assert np.array_equal(labels, expected)
    assert np.array_equal(chances.argmax(axis=0), expected)


def test_pixels_without_data_have_no_label(world):
    path, pixels, _ = world
    holes = pixels.astype(np.float32)
    holes[:, 20:30, 5:50] = np.nan
    labels, chances = network(path)(holes, probabilities=True)
    assert np.array_equal(labels == 255, np.isnan(holes[0]))
    assert np.array_equal(np.isnan(chances[0]), np.isnan(holes[0]))
    assert (network(path)(np.full_like(holes, np.nan)) == 255).all()


class Edges(nn.Module):
    """No U-Net of ours."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = nn.Conv2d(2, 2, 3, padding=1)

    def forward(self, x):
        return self.convolution(x)


SPEC = ModelSpec(
    architecture="exported", in_channels=2, classes=["a", "b"], margin=1, multiple=1, exact=True,
    normalisation={"mean": [125], "std": [70]},
)  # fmt: skip


def test_any_module_with_a_spec_takes_arrays_and_stores(world, tmp_path):
    _, pixels, _ = world
    module = Edges()
    with torch.no_grad():
        expected = module((torch.from_numpy(pixels).float() - 125) / 70).argmax(0).numpy()
    net = unet_batch.Network(module, SPEC, SERIAL)
    found = net(pixels)
    assert np.array_equal(found[1:-1, 1:-1], expected[1:-1, 1:-1])  # the border is mirrored
    assert module.training
    write_image(tmp_path / "image.zarr", pixels, "cyx")
    for _ in range(2):  # the second time it is done already
        assert unet_batch.predict(tmp_path / "image.zarr", tmp_path / "out.zarr", net).state == "done"
    assert np.array_equal(Masks.open(tmp_path / "out.zarr").read(Box((0, 0), (100, 90)))[0], found)


def test_several_networks_are_averaged(world):
    _, pixels, _ = world
    spec = ModelSpec(in_channels=2, classes=["a", "b"], width=2, depth=1)
    modules = [build(spec, seed) for seed in (1, 2)]
    alone = [unet_batch.Network(one, spec, SERIAL)(pixels, probabilities=True)[1] for one in modules]
    mean = unet_batch.Network(modules, spec, SERIAL)(pixels, probabilities=True)[1]
    assert np.allclose(mean, np.mean(alone, axis=0), atol=1e-6)


def test_channels_of_many_labels_lie_where_the_image_has_its_own():
    spec = ModelSpec(in_channels=1, classes=["road", "house"], head="multilabel", width=2, depth=1)
    found = unet_batch.Network(build(spec, 0), spec, SERIAL)(noise((3, 40, 50)), axes="zyx")
    assert found.shape == (2, 3, 40, 50)
    assert set(np.unique(found)) <= {0, 1}


def test_a_script_without_a_main_guard_may_start_workers(world, tmp_path):
    path, pixels, expected = world
    write_image(tmp_path / "image.zarr", pixels, "cyx")
    script = tmp_path / "script.py"
    script.write_text(
        "import unet_batch\n"
        "print('once')\n"
        f"config = dict({SERIAL}, workers=1)\n"
        f"print(unet_batch.predict('image.zarr', 'out.zarr', '{path}', config).state)\n"
    )
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["once", "done"]
    assert np.array_equal(Masks.open(tmp_path / "out.zarr").read(Box((0, 0), (100, 90)))[0], expected)


def test_small_images_start_no_workers(monkeypatch):
    monkeypatch.setattr(resources, "count", lambda _: 0)
    assert resources.small(unet_batch.PredictConfig(), 2048**2)
    assert not resources.small(unet_batch.PredictConfig(), 4096**2)
    assert not resources.small(unet_batch.PredictConfig(workers=1), 10)
    assert not resources.small(unet_batch.PredictConfig(scheduler="tcp://x:1"), 10)
    monkeypatch.setattr(resources, "count", lambda _: 1)
    assert not resources.small(unet_batch.PredictConfig(), 10)


def test_what_is_no_image_or_network_is_one_line(world):
    path, pixels, _ = world
    net = network(path)
    for call, says in [
        (lambda: net([[1, 2]]), "a list is no image"),
        (lambda: net(pixels[0]), "say which axes it has, such as axes='yx'"),
        (lambda: net(pixels, axes="yx"), "name 2 axes"),
        (lambda: net(pixels, axes="zcy"), "with y and x"),
        (lambda: net(noise((5, 40, 50)), axes="cyx"), "5 of its 5 channels"),
        (lambda: net(pixels.astype(complex)), "has no pixels"),
        (lambda: unet_batch.Network(3), "a int is no network"),
        (lambda: unet_batch.Network(Edges()), "needs its ModelSpec"),
        (lambda: unet_batch.predict(3, "out.zarr", path), "image is a int"),
        (lambda: unet_batch.predict("image.zarr", path), "model is missing"),
        (lambda: unet_batch.predict("image.zarr", "out.zarr", Edges()), "Network(module, spec)"),
        (lambda: unet_batch.predict("image.zarr", "out.zarr", path, probabilities=True), "of arrays"),
    ]:
        with pytest.raises(InputError) as told:
            call()
        assert says in str(told.value), told.value
        assert "\n" not in str(told.value)

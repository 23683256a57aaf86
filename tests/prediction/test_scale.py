"""A network is shown pixels of the size that it was trained on, or the person is told."""

import numpy as np
import pytest

from tests.cli.program import call
from tests.worlds import noise, write_network
from unet_batch.engine.progress import Hooks
from unet_batch.errors import InputError
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.run import ingest
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.request import Request
from unet_batch.prediction.run import predict
from unet_batch.store.image import Image

FAST = {"workers": 0, "block": 64, "tile": 64, "precision": "fp32", "backend": "eager"}


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """Level 0 has 250 nm a pixel; 512, 256 and 128 px a side."""
    folder = tmp_path_factory.mktemp("scale")
    np.save(folder / "i.npy", noise((512, 512)))
    config = IngestConfig(axes="yx", pixel_size=250, unit="nanometer", block=128, chunk=64, levels=3)
    ingest(folder / "i.npy", folder / "i.zarr", config)
    return folder / "i.zarr"


def level(image, tmp_path, pixel_size, **settings):
    network = write_network(tmp_path / "n.safetensors", depth=1, pixel_size=pixel_size)[0]
    return Request.open(str(image), [str(network)], PredictConfig(**settings)).image.level


@pytest.mark.parametrize(
    ("trained_on", "chosen"),
    [(None, 0), (0.25, 0), (0.34, 0), (0.4, 1), (0.5, 1), (1.0, 2), (1.4, 2), (30.0, 0), (0.001, 0)],
)
def test_the_nearest_level_without_resampling(image, tmp_path, trained_on, chosen):
    assert level(image, tmp_path, trained_on, resample="never") == chosen


@pytest.mark.parametrize(
    ("trained_on", "resample", "chosen", "times"),
    [
        (0.26, "auto", 0, None),
        (0.49, "auto", 1, None),
        (0.33, "auto", 0, 1.32),
        (0.6, "auto", 1, 1.2),
        (3.0, "auto", 2, 3.0),
        (0.2, "auto", 0, 0.8),
        (0.49, "always", 0, 1.96),
        (0.5, "always", 1, None),
        (20.0, "auto", 0, None),
        (0.05, "auto", 0, None),
    ],
)
def test_pixels_of_the_networks_size(image, tmp_path, trained_on, resample, chosen, times):
    network = write_network(tmp_path / "n.safetensors", depth=1, pixel_size=trained_on)[0]
    found = Request.open(str(image), [str(network)], PredictConfig(resample=resample)).image
    assert found.level == chosen
    assert found.view.resample == (None if times is None else pytest.approx((times, times)))
    if times is not None:
        assert found.pixel_size == pytest.approx({"y": 1000 * trained_on, "x": 1000 * trained_on})


def test_a_level_that_is_asked_for_stands(image, tmp_path):
    assert level(image, tmp_path, 1.0, level=0, resample="always") == 0
    assert level(image, tmp_path, 1.0, level=1, roi=((0, 50), (0, 50))) == 1


def test_a_region_needs_to_be_told_of_which_level_it_is(image, tmp_path):
    with pytest.raises(InputError, match="asks for level 2: set `level` too"):
        level(image, tmp_path, 1.0, roi=((0, 50), (0, 50)))


def test_an_image_that_does_not_say_its_pixel_size_is_refused_with_what_goes_on(tmp_path):
    np.save(tmp_path / "i.npy", noise((256, 256)))
    ingest(tmp_path / "i.npy", tmp_path / "i.zarr", IngestConfig(axes="yx", levels=3))
    with pytest.raises(InputError, match=r"--pixel-size MICROMETRES, or .* --set resample=never"):
        level(tmp_path / "i.zarr", tmp_path, 2.0)
    assert level(tmp_path / "i.zarr", tmp_path, 2.0, resample="never") == 0
    network = write_network(tmp_path / "n.safetensors", depth=1, pixel_size=2.0)[0]
    told = PredictConfig(pixel_size=1.0)
    assert Request.open(str(tmp_path / "i.zarr"), [str(network)], told).image.level == 1
    assert level(tmp_path / "i.zarr", tmp_path, None) == 0


def test_masks_have_the_pixels_of_their_level(image, tmp_path):
    network = write_network(tmp_path / "n.safetensors", depth=1, pixel_size=0.5)[0]
    said = []
    hooks = Hooks(observe=lambda _event, progress: said.append(progress.message))
    predict(image, tmp_path / "o.zarr", network, PredictConfig(**FAST), hooks=hooks)
    masks = Image.open(tmp_path / "o.zarr")
    assert masks.shape == (256, 256)
    assert masks.pixel_size == {"y": 500, "x": 500}
    assert any("level 1" in message for message in said)
    assert not any("expect poor masks" in message for message in said)


def test_a_network_for_another_scale_is_remarked(image, tmp_path):
    network = write_network(tmp_path / "n.safetensors", depth=1, pixel_size=100.0)[0]
    words = ["plan", image, tmp_path / "o.zarr", "--model", network]
    found = call(*words)
    assert found.code == 0
    assert "pixels of level 0 are 0.25 a side, those that the network was trained on 100: expect" in found.out
    assert call(*words, "--json").json["plan"]["image"]["level"] == 0

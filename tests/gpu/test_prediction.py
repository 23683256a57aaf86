"""On a real CUDA device (make test-gpu): the same laws as on the CPU."""

import numpy as np
import pytest
import torch

from tests.worlds import noise, shard_hashes, write_image, write_network
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.prediction.untiled import compare_untiled
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]

SHAPE = (700, 900)
SETTINGS = {"block": 256, "tile": 128, "backend": "eager", "probabilities": True}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu")
    network = write_network(folder / "net.safetensors", depth=4, width=16, in_channels=3)[0]
    return folder, write_image(folder / "image.zarr", noise((3, *SHAPE)), "cyx", 256), network


def run(world, name, **settings):
    folder, image, network = world
    predict(image, folder / name, network, PredictConfig(**{**SETTINGS, "device": "cuda", **settings}))
    return Masks.open(folder / name)


def test_fp32_gives_the_cpus_labels(world):
    box = Box.of_shape(SHAPE)
    gpu = run(world, "fp32.zarr", precision="fp32", workers=0)
    cpu = run(world, "cpu.zarr", precision="fp32", workers=0, device="cpu")
    kept = [m.read(box, layer="probabilities").astype(int) for m in (gpu, cpu)]
    assert np.abs(kept[0] - kept[1]).max() <= 1
    assert (gpu.read(box) == cpu.read(box)).mean() > 0.9999
    difference = compare_untiled(world[0] / "fp32.zarr", 4, image=world[1], model=world[2])
    assert difference.untiled_max_abs_diff < 1e-4


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_equal_bytes_for_runs_and_workers(world, precision):
    folder = world[0]
    stores = {workers: f"{precision}-{workers}.zarr" for workers in (0, 1, 2)}
    for workers, name in stores.items():
        run(world, name, precision=precision, workers=workers)
    hashes = [shard_hashes(folder / name) for name in stores.values()]
    assert hashes[0] == hashes[1] == hashes[2]


def test_half_precision_agrees_nearly_everywhere(world):
    box = Box.of_shape(SHAPE)
    single = run(world, "single.zarr", precision="fp32", workers=0).read(box)
    half = run(world, "half.zarr", precision="bf16", workers=0).read(box)
    assert (single == half).mean() > 0.97


def test_automatic_settings_run(world):
    folder, image, network = world
    found = predict(image, folder / "auto.zarr", network, PredictConfig())
    assert found.state == "done"
    assert Masks.open(folder / "auto.zarr").attributes["plan"]["compute"]["device"] == "cuda"

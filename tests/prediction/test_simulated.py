"""Prediction on simulated GPUs: from the driver's choice to the written shard, with the laws of the CPU."""

import numpy as np
import pytest

from tests.simulated_machine import machine, start_anew
from tests.worlds import noise, shard_hashes, write_image, write_network
from unet_batch.devices import simulated
from unet_batch.devices.claim import SIMULATED
from unet_batch.devices.device import open_device
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.prediction.status import status
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

__all__ = ["machine"]

SHAPE = (150, 170)
SETTINGS = {"block": 64, "tile": 32, "batch": 2, "precision": "fp32", "backend": "eager"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    network = write_network(folder / "net.safetensors", depth=2, in_channels=2)[0]
    return write_image(folder / "image.zarr", noise((2, *SHAPE)), "cyx", 64), network


def run(world, out, **settings):
    predict(world[0], out, world[1], PredictConfig(**{**SETTINGS, "workers": 0, **settings}))
    return Masks.open(out)


def device():
    return open_device("cuda:0")


FEATURES = [
    {},
    {"probabilities": True, "confidence": True},
    {"merge": "blend"},
    {"tta": True},
    {"levels": 3},
]


@pytest.mark.parametrize("features", FEATURES, ids=["plain", "layers", "blend", "tta", "levels"])
def test_the_default_device_gives_the_cpus_masks(machine, world, tmp_path, features):
    gpu = run(world, tmp_path / "gpu.zarr", **features)
    assert gpu.attributes["plan"]["compute"]["device"] == "cuda"
    assert not device().races
    cpu = run(world, tmp_path / "cpu.zarr", device="cpu", **features)
    for layer in ("labels", *(name for name in ("probabilities", "confidence") if features.get(name))):
        np.testing.assert_array_equal(
            gpu.read(Box.of_shape(SHAPE), layer=layer), cpu.read(Box.of_shape(SHAPE), layer=layer)
        )


def test_workers_take_a_device_each_and_the_driver_none(machine, world, tmp_path):
    log = machine(count=2, seconds=0.002)
    alone = run(world, tmp_path / "alone.zarr")
    start_anew()
    log.unlink()
    run(world, tmp_path / "two.zarr", workers="auto")
    assert simulated.contexts() == []
    contexts = {tuple(line.split()) for line in log.read_text().splitlines()}
    assert len({process for process, _ in contexts}) == 2
    assert {name for _, name in contexts} == {"SIM-0", "SIM-1"}
    assert shard_hashes(tmp_path / "two.zarr") == shard_hashes(tmp_path / "alone.zarr")
    del alone


def test_a_resume_takes_what_the_store_was_begun_with(machine, world, tmp_path):
    run(world, tmp_path / "out.zarr", roi=None)
    assert run(world, tmp_path / "out.zarr", workers="auto").attributes["finished"]


def test_memory_that_ends_takes_fewer_then_smaller_tiles(machine, world, tmp_path):
    whole = run(world, tmp_path / "whole.zarr", batch=4, tile=64, block=128)
    peak = 2**30 - device().memory().free
    assert peak > 0
    machine(bytes=1_400_000)
    small = run(world, tmp_path / "small.zarr", batch=4, tile=64, block=128)
    np.testing.assert_array_equal(small.read(Box.of_shape(SHAPE)), whole.read(Box.of_shape(SHAPE)))
    assert status(tmp_path / "whole.zarr").remarks == []
    (remark,) = status(tmp_path / "small.zarr").remarks
    assert "sufficed for 1 of 4 tiles a call" in remark


@pytest.mark.parametrize("threads", [1, 3])
def test_slow_devices_and_several_packets_keep_their_bytes(machine, world, tmp_path, threads):
    machine(count=1, seconds=0.0005)
    run(world, tmp_path / "slow.zarr", workers=1, concurrency=threads)
    machine(count=1)
    run(world, tmp_path / "fast.zarr")
    assert shard_hashes(tmp_path / "slow.zarr") == shard_hashes(tmp_path / "fast.zarr")


def test_fp16_is_taken_by_a_driver_without_a_gpu_whose_workers_are_elsewhere(monkeypatch, world):
    from unet_batch.prediction.autotuner import assume
    from unet_batch.prediction.request import Request

    monkeypatch.delenv(SIMULATED, raising=False)
    config = PredictConfig(precision="fp16", scheduler="tcp://127.0.0.1:1")
    assert assume(Request.open(str(world[0]), [str(world[1])], config, None)).precision == "fp16"

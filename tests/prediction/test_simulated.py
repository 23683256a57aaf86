"""Prediction on simulated GPUs: from the driver's choice to the written shard, with the laws of the CPU."""

import os
from contextlib import suppress

import numpy as np
import pytest
import torch

from tests.simulated_machine import machine, start_anew
from tests.worlds import noise, shard_hashes, write_image, write_network
from unet_batch.devices import claim as claiming
from unet_batch.devices import simulated
from unet_batch.devices.claim import SIMULATED
from unet_batch.devices.device import open_device
from unet_batch.devices.simulated_stream import SimulatedEvent, SimulatedStream
from unet_batch.errors import InputError
from unet_batch.models.checkpoint import load_checkpoint, save_checkpoint
from unet_batch.prediction import autotuner, pipeline
from unet_batch.prediction.autotuner import assume
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.pipeline import Pipelined
from unet_batch.prediction.request import Request
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
    {"backend": "fused"},
    {"probabilities": True, "confidence": True},
    {"merge": "blend"},
    {"tta": True},
    {"levels": 3},
]


@pytest.mark.parametrize("features", FEATURES, ids=["plain", "fused", "layers", "blend", "tta", "levels"])
def test_the_default_device_gives_the_cpus_masks(machine, world, tmp_path, features):
    gpu = run(world, tmp_path / "gpu.zarr", **features)
    assert gpu.attributes["plan"]["compute"]["device"] == "cuda"
    assert not device().races
    cpu = run(world, tmp_path / "cpu.zarr", device="cpu", **{**features, "backend": "eager"})
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
    monkeypatch.delenv(SIMULATED, raising=False)
    config = PredictConfig(precision="fp16", scheduler="tcp://127.0.0.1:1")
    assert assume(Request.open(str(world[0]), [str(world[1])], config, None)).precision == "fp16"


@pytest.fixture
def loud(world, tmp_path):
    """The image of ``world``, and a network whose logits fp16 cannot hold: they come near 300,000."""
    network = tmp_path / "loud.safetensors"
    module, spec = load_checkpoint(world[1])
    with torch.no_grad():
        module.head.weight *= 1e5
        module.head.bias *= 1e5
    save_checkpoint(network, module, spec)
    return world[0], network


@pytest.mark.parametrize("backend", ["eager", "fused"])
@pytest.mark.parametrize("features", [{}, {"merge": "blend"}], ids=["crop", "blend"])
def test_fp16_that_overflows_is_told_with_its_cure(machine, loud, tmp_path, backend, features):
    run(loud, tmp_path / "half.zarr", precision="fp16", backend=backend, **features)
    assert not device().races
    (remark,) = status(tmp_path / "half.zarr").remarks
    assert "precision=bf16 or precision=fp32" in remark
    run(loud, tmp_path / "full.zarr", backend=backend, **features)
    assert status(tmp_path / "full.zarr").remarks == []


def test_fp16_that_fits_is_silent(machine, world, loud, tmp_path):
    """Also after a network that overflowed, and where stored pixels are no numbers."""
    run(loud, tmp_path / "loud.zarr", precision="fp16")
    pixels = noise((2, *SHAPE)).astype(np.float32)
    pixels[:, 40:60, 40:60] = np.nan
    holes = write_image(tmp_path / "holes.zarr", pixels, "cyx", 64), world[1]
    for number, one in enumerate((world, holes)):
        run(one, tmp_path / f"{number}.zarr", precision="fp16")
        assert status(tmp_path / f"{number}.zarr").remarks == []


@pytest.fixture
def blocks(monkeypatch):
    """For each block, how often it waited and copied pageable memory; it is staged while no queue is held."""
    found = []
    call, staged = Pipelined.__call__, pipeline._Slot.staged

    def counted(self, *args):
        before = self.device.counts.copy()
        try:
            return call(self, *args)
        finally:
            found.append(self.device.counts - before)

    def checked(self, *args):
        assert not any(one.order.locked() for one in pipelines), "copied while the device's queue is held"
        return staged(self, *args)

    pipelines = []
    monkeypatch.setattr(Pipelined, "__call__", counted)
    monkeypatch.setattr(pipeline._Slot, "staged", checked)
    made = Pipelined.__init__
    monkeypatch.setattr(Pipelined, "__init__", lambda self, *a: (pipelines.append(self), made(self, *a))[1])
    return found


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_block_waits_once_and_copies_from_pinned_memory_alone(machine, world, tmp_path, blocks, precision):
    run(world, tmp_path / "out.zarr", probabilities=True, levels=2, precision=precision)
    assert len(blocks) == 9
    assert {(one["synchronisations"], one["pageable"]) for one in blocks} == {(1, 0)}


def test_unpinned_memory_is_caught(machine, world, tmp_path, blocks, monkeypatch):
    monkeypatch.setattr(device(), "pinned", lambda shape, dtype: torch.empty(tuple(shape), dtype=dtype))
    run(world, tmp_path / "out.zarr")
    assert all(one["pageable"] for one in blocks)


def test_pixels_of_uint16_are_flipped_though_torch_flips_none(machine, world, tmp_path):
    pixels = noise((2, *SHAPE)).astype(np.uint16) * 200
    wide = write_image(tmp_path / "wide.zarr", pixels, "cyx", 64), world[1]
    gpu = run(wide, tmp_path / "gpu.zarr", tta="turns")
    cpu = run(wide, tmp_path / "cpu.zarr", tta="turns", device="cpu")
    assert [status(tmp_path / f"{name}.zarr").state for name in ("gpu", "cpu")] == ["done", "done"]
    np.testing.assert_array_equal(gpu.read(Box.of_shape(SHAPE)), cpu.read(Box.of_shape(SHAPE)))


@pytest.mark.parametrize("stream", ["compute", "download"])
def test_a_missing_wait_is_caught(machine, world, tmp_path, monkeypatch, stream):
    made, really, forgotten = Pipelined.__init__, SimulatedStream.wait, []

    def forgetful(self, *args):
        made(self, *args)
        forgotten.append(getattr(self, stream))

    monkeypatch.setattr(Pipelined, "__init__", forgetful)
    monkeypatch.setattr(SimulatedStream, "wait", lambda self, event: self in forgotten or really(self, event))
    with suppress(OverflowError):  # counts are poison where the copy back does not wait
        run(world, tmp_path / "out.zarr")
    assert any("without waiting" in race for race in device().races)


def test_a_slot_used_too_early_is_caught(machine, world, tmp_path, monkeypatch):
    monkeypatch.setattr(SimulatedEvent, "synchronize", lambda self: None)
    with pytest.raises(OverflowError, match="-85 out of bounds"):  # what the host reads is poison
        run(world, tmp_path / "out.zarr")


def test_a_context_in_the_driver_is_caught(machine, world, monkeypatch):
    request = Request.open(str(world[0]), [str(world[1])], PredictConfig(**SETTINGS), None)
    assume(request)
    assert simulated.contexts() == []
    monkeypatch.setattr(autotuner, "_memory", lambda *_: device().memory().free)  # as once: it asks the GPU
    assume(request)
    assert simulated.contexts() == ["SIM-0"]


def test_a_wrong_ordinal_is_caught(machine, monkeypatch):
    def claimed():
        """The devices of two workers, one after the other in this process."""
        found = []
        for _ in range(2):
            monkeypatch.setattr(claiming, "_held", {})
            environ = {SIMULATED: os.environ[SIMULATED]}
            name = claiming.claim(environ, hide=True)
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", environ["CUDA_VISIBLE_DEVICES"])
            found.append(open_device(name).label)
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
        return found

    assert claimed() == ["SIM-0", "SIM-1"]
    machine()
    monkeypatch.setattr(claiming, "_name", lambda chosen, devices, environ: f"cuda:{devices.index(chosen)}")
    with pytest.raises((InputError, KeyError)):
        claimed()


def test_what_does_not_compile_is_not_chosen(machine, world, monkeypatch):
    tried = []

    def rate(module, request, choice, *_):
        tried.append(choice.backend)
        if choice.backend != "eager":
            raise RuntimeError("no C compiler was found")
        return 1.0

    monkeypatch.setattr(autotuner, "_rate", rate)
    config = PredictConfig(**{**SETTINGS, "backend": "auto"})
    choice = autotuner.Autotuner(str(world[0]), (str(world[1]),), config, None, 1, measure=True)()
    assert tried == ["eager", "fused", "compile"]
    assert (choice.device, choice.backend) == ("cuda", "eager")

"""Training on a simulated GPU: what the CPU learns, without waiting for the device between log lines."""

import json
from functools import partial
from itertools import pairwise

import pytest
import torch

import unet_batch
from tests.simulated_machine import machine
from tests.training.run.worlds import Watch, config_of, write_world
from unet_batch.devices.device import open_device
from unet_batch.errors import TrainingError
from unet_batch.training import batches, log, trainer
from unet_batch.training.augment import augment
from unet_batch.training.distributed import Ranks
from unet_batch.training.files import RunFolder
from unet_batch.training.history import read_history
from unet_batch.training.hooks import Hooks

__all__ = ["machine"]

AUGMENT = {
    kind: {"probability": 0.7}
    for kind in ("rotation", "gamma", "brightness", "contrast", "channel_shift", "noise", "blur", "cutout")
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return write_world(tmp_path_factory.mktemp("world"))


def trained(world, out, **sections):
    watch = Watch()
    device = open_device("cuda:0")
    with device.current_stream():
        unet_batch.train(config_of(world, out, **sections), hooks=watch.hooks)
    return device, watch


def losses(out):
    return [row["loss"] for row in read_history(RunFolder(out).metrics)]


def test_it_learns_what_the_cpu_learns(machine, world, tmp_path):
    sections = {"augment": AUGMENT, "run": {"device": "auto", "ema": 0.9, "accumulate": 2}}
    device, watch = trained(world, tmp_path / "gpu", **sections)
    assert not device.races
    assert [one.step for one in watch.steps] == list(range(1, 11))
    sections["run"]["device"] = "cpu"
    unet_batch.train(config_of(world, tmp_path / "cpu", **sections))
    assert losses(tmp_path / "gpu") == pytest.approx(losses(tmp_path / "cpu"), rel=1e-4)


OBJECTIVE = {"kind": "dice_ce", "class_weights": [1.0, 2.0]}


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_nothing_waits_for_the_device_between_log_lines(machine, world, tmp_path, monkeypatch, kind):
    monkeypatch.setattr(log, "LOG_EVERY", 4)
    device, waits = open_device("cuda:0"), []

    def counted():
        waits.append((device.counts["synchronisations"], device.counts["pageable"]))
        return False

    config = config_of(
        world,
        tmp_path / "out",
        augment=AUGMENT,
        objective=OBJECTIVE,
        optimiser={"kind": kind, "clip": 5.0},
        validation={"every": 100},
        run={"device": "auto", "ema": 0.9, "steps": 10, "accumulate": 2, "checkpoint_every": 100},
    )
    with device.current_stream():
        unet_batch.train(config, hooks=Hooks(stop=counted))
    assert not device.races
    steps = [(b[0] - a[0], b[1] - a[1]) for a, b in pairwise(waits)]
    assert steps == [(0, 0), (0, 0), (0, 0), (1, 0), (0, 0), (0, 0), (0, 0), (1, 0), (0, 0)]


def test_a_run_goes_on_from_its_state(machine, world, tmp_path):
    whole = {"device": "auto", "steps": 8, "checkpoint_every": 4}
    trained(world, tmp_path / "whole", run=whole)
    out = tmp_path / "parts"
    with open_device("cuda:0").current_stream():
        unet_batch.train(config_of(world, out, run=whole), hooks=Hooks(stop=RunFolder(out).state.exists))
    trained(world, out, run=whole)
    assert losses(out) == losses(tmp_path / "whole")


@pytest.fixture
def scaler(monkeypatch):
    """The scale that a training in fp16 begins with."""

    def begin(scale):
        made = partial(torch.amp.GradScaler, init_scale=scale)
        monkeypatch.setattr(trainer, "GradScaler", made)

    return begin


FP16 = pytest.mark.filterwarnings("ignore:.*CUDA is not available")
HALF = {"device": "auto", "precision": "fp16", "most_skipped": 6}


@FP16
def test_a_scale_that_overflows_falls_and_is_told(machine, world, tmp_path, scaler):
    scaler(3e38)
    _, watch = trained(world, tmp_path, run=HALF, objective={"kind": "dice_ce", "dice_weight": 24})
    told = [message for message in watch.messages if "skipped" in message]
    result = json.loads(RunFolder(tmp_path).done.read_text())
    assert 0 < result["skipped"] == len(told) < 6
    assert told[0].startswith("step 1: fp16 overflowed")


@FP16
def test_overflow_that_stays_is_an_error_with_its_cure(machine, world, tmp_path, scaler):
    scaler(float("inf"))
    with pytest.raises(TrainingError, match=r"fp16 overflowed 6 steps in a row .*run.precision=bf16"):
        trained(world, tmp_path, run=HALF)


class Forgetful:
    """A stream that does not wait."""

    def __init__(self, stream):
        self.stream = stream

    def wait(self, event):
        pass

    def record(self):
        return self.stream.record()

    def __enter__(self):
        return self.stream.__enter__()

    def __exit__(self, *error):
        return self.stream.__exit__(*error)


def test_a_batch_given_back_too_early_is_caught(machine, world, tmp_path, monkeypatch):
    made = batches.Ahead.__init__

    def forgetful(self, *args):
        opened = args[0].device.stream
        monkeypatch.setattr(args[0].device, "stream", lambda: Forgetful(opened()))
        made(self, *args)

    monkeypatch.setattr(batches.Ahead, "__init__", forgetful)
    device, _ = trained(world, tmp_path, run={"device": "auto"})
    assert any("is given back while" in race for race in device.races)


def test_a_step_that_does_not_wait_for_its_batch_is_caught(machine, world, tmp_path, monkeypatch):
    device = open_device("cuda:0")
    monkeypatch.setattr(device, "current_stream", lambda stream=device.current: Forgetful(stream))
    with pytest.raises(IndexError, match="out of bounds"):  # its labels are poison
        trained(world, tmp_path, run={"device": "auto", "most_skipped": 1})
    assert any("reads what stream" in race for race in device.races)


def test_an_unpinned_copy_is_caught(machine, world, tmp_path, monkeypatch):
    monkeypatch.setattr(augment, "sent", lambda values, place: values.to(place))
    device, _ = trained(world, tmp_path, run={"device": "auto", "steps": 3, "checkpoint_every": 10})
    assert device.counts["pageable"] >= 3 * 2 * 4  # steps, images and labels, samples


def test_compiled_is_what_exchanges_gradients(world, tmp_path, monkeypatch):
    """Around the exchange, which then runs beside the backward pass; not within it."""
    order = []
    monkeypatch.setattr(Ranks, "parallel", lambda _, module, **__: order.append("exchange") or module)
    monkeypatch.setattr(torch, "compile", lambda module: order.append("compile") or module)
    config = config_of(world, tmp_path, run={"compile": True})
    trainer.make_trainer(config, Ranks(0, 1, torch.device("cpu")), RunFolder(tmp_path), Hooks())
    assert order == ["exchange", "compile"]

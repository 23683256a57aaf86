# A run that is stopped and started again is the run that was never stopped, bit for bit.

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

import unet_batch
from tests.training.run.worlds import NETWORK, Watch, config_of, values_of
from unet_batch.models.checkpoint import load_checkpoint
from unet_batch.training.files import RunFolder
from unet_batch.training.history import read_history

# Everything that a state must hold: momenta, an average, norms and where their statistics are fixed,
# dropout, a schedule.
SECTIONS = {
    "model": {"spec": {**NETWORK, "dropout": 0.3}},
    "schedule": {"warmup": 3},
    "validation": {"every": 4},
    "run": {"steps": 12, "ema": 0.9, "checkpoint_every": 5, "fixed_statistics": 0.5},
}


def sections(**run):
    return {**SECTIONS, "run": {**SECTIONS["run"], **run}}


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory):
    out, watch = tmp_path_factory.mktemp("undisturbed"), Watch()
    unet_batch.train(config_of(world, out, **sections()), hooks=watch.hooks)
    return out, watch


def same_weights(one, other):
    for name in ("best.safetensors", "last.safetensors"):
        pair = [load_checkpoint(folder / name)[0].state_dict() for folder in (one, other)]
        torch.testing.assert_close(*pair, rtol=0, atol=0)


def test_stopped_and_resumed(undisturbed, world, tmp_path):
    out, watch = undisturbed
    losses = []
    for last in (1, 6, None):
        part = Watch(last)
        result = unet_batch.train(config_of(world, tmp_path, **sections()), hooks=part.hooks)
        assert result.finished == (last is None)
        losses += part.losses
    assert losses == watch.losses
    same_weights(out, tmp_path)
    theirs, mine = (read_history(folder / "metrics.csv") for folder in (out, tmp_path))
    assert [row["loss"] for row in mine] == [row["loss"] for row in theirs]
    assert [row.get("mean_dice") for row in mine] == [row.get("mean_dice") for row in theirs]


@pytest.mark.parametrize("optimiser", [{"kind": "sgd", "learning_rate": 1e-2}])
def test_with_momentum_too(world, tmp_path, optimiser):
    whole, parts = Watch(), [Watch(4), Watch()]
    unet_batch.train(config_of(world, tmp_path / "a", optimiser=optimiser, **sections()), hooks=whole.hooks)
    for part in parts:
        unet_batch.train(
            config_of(world, tmp_path / "b", optimiser=optimiser, **sections()), hooks=part.hooks
        )
    assert parts[0].losses + parts[1].losses == whole.losses


def test_the_stop_file_ends_a_run_and_a_new_start_removes_it(world, tmp_path):
    folder = RunFolder(tmp_path)

    def ask(progress):
        if progress.step == 2:
            folder.stop.touch()

    result = unet_batch.train(
        config_of(world, tmp_path, **sections()), hooks=unet_batch.training.hooks.Hooks(ask)
    )
    assert (result.finished, result.step) == (False, 3)
    assert unet_batch.train(config_of(world, tmp_path, **sections())).finished
    assert not folder.stop.exists()


def begin(config, out, *words):
    """The program in a process of its own, once it has saved a state."""
    process = subprocess.Popen(
        [sys.executable, "-m", "unet_batch", "train", "--config", config, "--json-lines", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        text=True,
    )
    for _ in range(2400):
        if RunFolder(out).state.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGKILL, -9)])
def test_killed_and_started_again(world, tmp_path, number, code):
    long = sections(steps=400, checkpoint_every=3)
    long["validation"] = {"every": 400}
    config = tmp_path / "train.yaml"
    config.write_text(yaml.safe_dump(values_of(world, tmp_path / "out", **long)))
    process = begin(config, tmp_path / "out")
    process.send_signal(number)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code, err
    steps = torch.load(RunFolder(tmp_path / "out").state, weights_only=True)["standing"]["step"]
    assert 0 < steps < 400
    short = sections(steps=400, checkpoint_every=3)
    watch, whole = Watch(3), Watch(steps + 3)
    short["validation"] = {"every": 400}
    unet_batch.train(config_of(world, tmp_path / "out", **short), hooks=watch.hooks)
    unet_batch.train(config_of(world, tmp_path / "whole", **short), hooks=whole.hooks)
    assert watch.losses == whole.losses[steps : steps + 3]
    rows = read_history(tmp_path / "out" / "metrics.csv")
    assert [row["loss"] for row in rows] == whole.losses

# Two ranks are one with twice the batch; they begin, stop and fail together.

import signal
import socket
import time

import pytest
import torch

import unet_batch
from tests.cli.program import call
from tests.training.distributed.ranks import ended, free_port, rank, run_ranks, write_settings
from tests.training.run.worlds import NETWORK, config_of, values_of
from unet_batch.errors import InputError, RankError
from unet_batch.models.checkpoint import load_checkpoint
from unet_batch.training.distributed import Ranks, process_group
from unet_batch.training.files import RunFolder
from unet_batch.training.history import read_history
from unet_batch.training.hooks import Hooks
from unet_batch.training.trainer import make_trainer

SECTIONS = {
    "optimiser": {"kind": "sgd", "learning_rate": 0.05, "momentum": 0.9, "clip": 5.0},
    "objective": {"kind": "dice_ce", "class_weights": [1.0, 2.0]},
    "validation": {"every": 3},
    "run": {"steps": 6, "checkpoint_every": 3, "ema": 0.9},
}


def sections(**run):
    return {**SECTIONS, "run": {**SECTIONS["run"], **run}}


def sparse(world):
    """Labels of which ranks have unlike shares: a rank's own mean would be another loss."""
    values = values_of(world, world)["data"]["sources"][0]
    return {"sources": [{**values, "train": [[[0, 1], [0, 64], [0, 20]]]}]}


@pytest.fixture(scope="module")
def alone(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone")
    unet_batch.train(config_of(world, out, data=sparse(world), **sections()))
    return out


def assert_alike(one, other):
    theirs, mine = (read_history(folder / "metrics.csv") for folder in (one, other))
    for key in ("loss", "gradient_norm", "mean_dice"):
        pair = [{row["step"]: row[key] for row in rows if key in row} for rows in (mine, theirs)]
        assert pair[0] == pytest.approx(pair[1], rel=1e-3)
    for name in ("best.safetensors", "last.safetensors"):
        pair = [load_checkpoint(folder / name)[0].state_dict() for folder in (one, other)]
        torch.testing.assert_close(*pair, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_ranks_are_one_with_twice_the_batch(alone, world, tmp_path, accumulate):
    run = {"out": str(tmp_path / "out"), "accumulate": accumulate}
    if accumulate == 2:  # Dice and norms are of a part, so the parts must be the same ones
        alone = tmp_path / "alone"
        unet_batch.train(config_of(world, alone, data=sparse(world), **sections(accumulate=2)))
    values = values_of(world, tmp_path / "out", data=sparse(world), **sections(**run))
    run_ranks(write_settings(tmp_path / "two.yaml", values), 2)
    assert_alike(alone, tmp_path / "out")


def test_a_run_goes_on_with_another_number_of_ranks(alone, world, tmp_path):
    values = values_of(world, tmp_path / "out", data=sparse(world), **sections())
    settings = write_settings(tmp_path / "all.yaml", values)
    unet_batch.train(
        config_of(world, tmp_path / "out", data=sparse(world), **sections()),
        hooks=Hooks(stop=RunFolder(tmp_path / "out").state.exists),
    )
    run_ranks(settings, 2)
    assert_alike(alone, tmp_path / "out")


def test_a_signal_to_one_rank_stops_all_at_one_step(world, tmp_path):
    values = values_of(world, tmp_path / "out", **sections(steps=100_000, checkpoint_every=2))
    values["validation"] = {"every": 100_000}
    settings, port = write_settings(tmp_path / "long.yaml", values), free_port()
    ranks = [rank(settings, number, 2, port) for number in range(2)]
    with ended(*ranks):
        while not RunFolder(tmp_path / "out").state.exists():
            assert all(process.poll() is None for process in ranks)
            time.sleep(0.05)
        ranks[1].send_signal(signal.SIGTERM)
        for process in ranks:
            _, err = process.communicate(timeout=60)
            assert process.returncode == 75, err
    stopped = torch.load(RunFolder(tmp_path / "out").state, weights_only=True)["standing"]["step"]
    rows = read_history(tmp_path / "out" / "metrics.csv")
    assert [row["step"] for row in rows] == list(range(1, stopped + 1))


def test_bad_input_is_told_once(world, tmp_path):
    values = values_of(world, tmp_path / "out", model={"spec": {**NETWORK, "in_channels": 2}}, **sections())
    settings, port = write_settings(tmp_path / "bad.yaml", values), free_port()
    ranks = [rank(settings, number, 2, port) for number in range(2)]
    told = []
    with ended(*ranks):
        for process in ranks:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 2, err
            told.append([line for line in err.splitlines() if line.startswith("error: ")])
    assert [len(lines) for lines in told] == [1, 0]


def test_a_batch_that_ranks_cannot_share_is_refused(world, tmp_path):
    config, two = config_of(world, tmp_path, **sections(batch=3)), Ranks(0, 2, torch.device("cpu"))
    with pytest.raises(InputError, match="3 samples cannot be shared by 2 ranks"):
        make_trainer(config, two, RunFolder(tmp_path), Hooks())


@pytest.fixture
def place(monkeypatch):
    """This process as a rank, in torchrun's environment."""

    def set_place(number, port):
        names = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": 2, "MASTER_PORT": port}
        for name, value in {**names, "MASTER_ADDR": "127.0.0.1"}.items():
            monkeypatch.setenv(name, str(value))

    return set_place


def refusal(error):
    with pytest.raises(error) as caught, process_group("cpu", 1.0):
        pass
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_rank_that_does_not_come_is_named(place):
    port = free_port()
    place(0, port)
    assert f"rank 1 of 2 did not come to 127.0.0.1:{port} within 1 s" in refusal(RankError)


def test_a_rank_that_cannot_reach_the_others_names_host_and_port(place):
    port = free_port()
    place(1, port)
    assert f"rank 1 cannot reach 127.0.0.1:{port} within 1 s" in refusal(RankError)


def test_a_port_in_use_is_one_line(place):
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        place(0, port)
        assert f"port {port} of 127.0.0.1 is in use" in refusal(RankError)


def test_half_an_environment_is_one_line(place, monkeypatch):
    place(0, "many")
    assert "MASTER_PORT" in refusal(InputError)


def test_a_rank_that_dies_is_one_line_and_its_traceback_a_file(world, tmp_path, monkeypatch):
    def train(*_, **__):
        raise ValueError("no such shape")

    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("unet_batch.training.run.train", train)
    config = write_settings(tmp_path / "train.yaml", values_of(world, tmp_path / "out"))
    told = call("train", "--config", config).refusal
    path = tmp_path / "out" / "rank1.traceback"
    assert told.startswith(f"rank 1 of 2 died of ValueError: no such shape; its traceback is in {path}.")
    assert "in train\n" in path.read_text()

"""Two agents of torchrun, as on two nodes, meet by c10d; a killed rank costs steps, never the result."""

import os
import signal
import time
from pathlib import Path

import pytest
import torch

from tests.training.distributed.ranks import ended, free_port, run_ranks, start, write_settings
from tests.training.run.worlds import values_of
from unet_batch.models.checkpoint import load_checkpoint
from unet_batch.training.files import RunFolder
from unet_batch.training.history import read_history

STEPS = 60
SECTIONS = {
    "optimiser": {"kind": "sgd", "learning_rate": 0.02, "momentum": 0.9, "clip": 5.0},
    "validation": {"every": STEPS},
}


def settings(path, world, out, **run):
    values = values_of(world, out, **SECTIONS, run={"steps": STEPS, "checkpoint_every": 5, **run})
    return write_settings(path, values)


def agent(config, port):
    """What one node runs; it starts its ranks again when one of them dies."""
    words = ["-m", "torch.distributed.run", "--nnodes", 2, "--nproc-per-node", 1, "--max-restarts", 3]
    words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{port}", "--rdzv-id", "test"]
    return start([*words, "-m", "unet_batch", "train", "--config", config, "--json-lines"])


def ranks_of(agent):
    """Process numbers of the agent's children that train."""
    children = Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text().split()
    return [int(pid) for pid in children if b"unet_batch\0train" in Path(f"/proc/{pid}/cmdline").read_bytes()]


def saved(out):
    """Steps of the state on disk."""
    state = RunFolder(out).state
    return torch.load(state, weights_only=True)["standing"]["step"] if state.exists() else 0


def until(condition, agents):
    while not condition():
        assert all(process.poll() is None for process in agents), [p.communicate() for p in agents]
        time.sleep(0.02)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("victim", [0, pytest.param(1, marks=pytest.mark.soak)])
def test_a_killed_rank_costs_nothing_but_time(world, tmp_path, victim):
    run_ranks(settings(tmp_path / "whole.yaml", world, tmp_path / "whole"), 2)
    out, port = tmp_path / "out", free_port()
    config = settings(tmp_path / "killed.yaml", world, out)
    agents = [agent(config, port) for _ in range(2)]
    with ended(*agents):
        until(lambda: saved(out) > 0, agents)
        killed = ranks_of(agents[victim])
        os.kill(*killed, signal.SIGKILL)
        until(lambda: killed != ranks_of(agents[victim]), agents)
        assert saved(out) < STEPS, "it was over before the kill"
        for process in agents:
            _, err = process.communicate(timeout=300)
            assert process.returncode == 0, err
    for name in ("best.safetensors", "last.safetensors"):
        pair = [load_checkpoint(folder / name)[0].state_dict() for folder in (tmp_path / "whole", out)]
        torch.testing.assert_close(*pair, rtol=0, atol=0)
    theirs, mine = (read_history(folder / "metrics.csv") for folder in (tmp_path / "whole", out))
    assert [row["loss"] for row in mine] == [row["loss"] for row in theirs]

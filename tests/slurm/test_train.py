"""Training on two nodes of a real SLURM: stopped, pre-empted, gone on; losses as of an undisturbed run."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.cli.program import settings
from tests.worlds import noise, write_image

CONFIG = {
    "model": {"spec": {"in_channels": 1, "classes": ["a", "b"], "width": 2, "depth": 1, "padding": "same"}},
    "data": {
        "sources": [{"image": "cells.zarr", "labels": "labels.zarr", "train": "all", "validation": "all"}]
    },
    "sampling": {"patch": 16},
    "objective": {"kind": "cross_entropy"},
    "validation": {"every": 40},
    "run": {"steps": 80, "batch": 2, "checkpoint_every": 10, "device": "cpu", "precision": "fp32"},
}


@pytest.fixture
def training(desk):
    """train.yaml with its image and labels, in the current folder."""
    write_image(desk.folder / "cells.zarr", noise((1, 64, 64)), "cyx")
    write_image(desk.folder / "labels.zarr", (noise((64, 64), seed=1) > 125).astype(np.uint8), "yx", fill=255)
    Path("train.yaml").write_text(yaml.safe_dump(CONFIG))
    return desk


def losses(folder):
    """Loss by step."""
    with (Path(folder) / "metrics.csv").open(newline="") as file:
        return {row["step"]: row["loss"] for row in csv.DictReader(file)}


def train(desk, out, partition, *words):
    """Submit a training on two nodes."""
    where = ("--nodes", "2", "--partition", partition)
    return desk.job("train", "--config", "train.yaml", *settings(f"run.out={out}", *words), *where)


def urgent(desk):
    """A job that takes all CPUs of both nodes for some seconds, from whom has less priority."""
    words = ("--nodes=2", "--ntasks-per-node=8", "--output=/dev/null", "--wrap=sleep 3")
    return int(desk.machines.run("sbatch", "--parsable", "--partition=urgent", *words))


def test_two_nodes_train_one_network(training):
    job = train(training, "run", "main", "run.steps=10")
    assert training.ended(job) == "COMPLETED", training.logs()
    assert Path("run/done.json").exists()
    assert list(losses("run"))[-1] == "10"
    assert training.jobs()[job]["comment"] == "unet-batch train -> run"


def test_a_training_that_cannot_begin_fails_for_good(training):
    np.save("short.npy", np.zeros(3))
    Path("cells.zarr/zarr.json").write_text("{")
    job = train(training, "run", "main")
    assert training.ended(job) == "FAILED"
    assert "Restarts=0" in training.machines.run("scontrol", "show", "job", str(job))
    assert "cells.zarr" in training.jobs()[job]["reason"]


@pytest.mark.soak
def test_a_warning_and_two_preemptions_leave_the_losses_as_they_are(training):
    undisturbed = train(training, "whole", "main", "run.steps=400")
    assert training.ended(undisturbed, 300) == "COMPLETED", training.logs()
    job = train(training, "run", "preempt", "run.steps=400")
    for number, disturb in enumerate((warn, urgent, urgent), start=1):
        begun = len(losses("run")) if number > 1 else 0
        training.until(lambda: training.state(job) == "RUNNING" and steps("run") > begun + 20, 120)  # noqa: B023
        disturb(training) if disturb is urgent else warn(training, job)
        restarts = f"Restarts={number}"
        training.until(lambda: restarts in training.machines.run("scontrol", "show", "job", str(job)), 60)  # noqa: B023
    assert training.ended(job, 300) == "COMPLETED", training.logs()
    assert losses("run") == losses("whole")


def warn(desk, job):
    """What SLURM does some time before the limit."""
    desk.machines.run("scancel", "--signal=USR1", "--batch", str(job))


def steps(folder):
    return len(losses(folder)) if (Path(folder) / "metrics.csv").exists() else 0

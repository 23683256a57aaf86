"""Training on two nodes of a real SLURM: stopped, pre-empted, gone on; losses as of an undisturbed run."""

import csv
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.cli.program import settings
from tests.kept import keep
from tests.slurm.conftest import ENDS
from tests.worlds import noise, write_image

pytestmark = pytest.mark.timeout(1800)  # a crowded machine; each wait has its own limit

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


def test_two_nodes_train_one_network(training):
    job = train(training, "run", "main", "run.steps=10")
    assert training.ended(job) == "COMPLETED", training.logs()
    assert Path("run/done.json").exists()
    assert list(losses("run"))[-1] == "10"
    assert training.jobs()[job]["comment"] == "unet-batch train -> run"


def test_a_training_that_cannot_begin_fails_for_good(training):
    Path("cells.zarr/zarr.json").write_text("{")
    job = train(training, "run", "main")
    assert training.ended(job) == "FAILED"
    assert "Restarts=0" in training.machines.run("scontrol", "show", "job", str(job))
    assert "cells.zarr" in training.jobs()[job]["reason"]


# Some minutes of work on two cores, so that there is time to disturb it.
LONG = ("run.steps=150", "run.batch=8", "sampling.patch=48", "model.spec.width=16", "model.spec.depth=2")


@pytest.mark.soak
def test_a_warning_and_two_preemptions_leave_the_losses_as_they_are(training):
    undisturbed = train(training, "whole", "main", *LONG)
    assert training.ended(undisturbed, 1200) == "COMPLETED", training.logs()
    job = train(training, "run", "preempt", *LONG)
    for number, disturb in enumerate((warn, urgent, urgent), start=1):
        wait_for_a_saved_step(training, job, after=steps("run"))
        disturb(training, job)
        wait_for_the_restart(training, job, number)
    assert training.ended(job, 1200) == "COMPLETED", training.logs()
    assert losses("run") == losses("whole")
    events = ["warning", "pre-emption", "pre-emption"]
    last = losses("run")["150"]
    found = {"steps": 150, "events": events, "restarts": 3, "losses_equal": True, "last_loss": float(last)}
    keep("slurm", "training", nodes=2, **found)


def wait_for_a_saved_step(desk, job, after):
    def has_got_on():
        assert desk.state(job) not in ENDS, desk.logs()
        return desk.state(job) == "RUNNING" and steps("run") > after + 2

    desk.until(has_got_on, 600)


def wait_for_the_restart(desk, job, number):
    shown = f"Restarts={number}"
    desk.until(lambda: shown in desk.machines.run("scontrol", "show", "job", str(job)), 600)


def warn(desk, job):
    """What SLURM does some time before the limit."""
    desk.machines.run("scancel", "--signal=USR1", "--batch", str(job))


def urgent(desk, job):
    """A job with more right to both nodes takes them for some seconds."""
    words = ("--nodes=2", "--ntasks-per-node=8", "--output=/dev/null", "--wrap=sleep 3")
    desk.machines.run("sbatch", "--parsable", "--partition=urgent", *words)


def steps(folder):
    return len(losses(folder)) if (Path(folder) / "metrics.csv").exists() else 0

# How a training ends before its last step, and when a finished one is not taken for what is asked now.

import json
import shutil

import matplotlib.image
import numpy as np
import pytest
import torch
import zarr
from torch.nn import functional

import unet_batch
from tests.training.run.worlds import NETWORK, Watch, config_of, write_world
from unet_batch.errors import InputError, PlanMismatchError
from unet_batch.training.history import STEP_COLUMNS
from unet_batch.training.losses.config import LossConfig
from unet_batch.training.losses.own import OwnTerm
from unet_batch.training.losses.target import Target
from unet_batch.training.losses.weighted_loss import WeightedLoss
from unet_batch.training.report import draw_curves


@pytest.fixture(scope="module")
def finished(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("finished")
    unet_batch.train(config_of(world, out, run={"steps": 3}))
    return out


def test_patience_ends_a_run_that_is_then_done(world, tmp_path):
    settings = {"validation": {"every": 2, "patience": 2}, "optimiser": {"learning_rate": 1e-12}}
    still = {"spec": {**NETWORK, "norm": "none"}}
    config = config_of(world, tmp_path, run={"steps": 50}, model=still, **settings)
    result = unet_batch.train(config)
    assert (result.finished, result.ended, result.best_step, result.step) == (True, "patience", 2, 6)
    assert result.test["mean_dice"] >= 0
    assert (tmp_path / "curves.png").exists()
    watch = Watch()
    assert unet_batch.train(config, hooks=watch.hooks) == result
    assert "nothing to do" in watch.messages[0]


def test_a_hook_finishes_a_run(world, tmp_path):
    watch = Watch()
    hooks = unet_batch.Hooks(observe=watch.see, finish=lambda: len(watch.steps) >= 2)
    config = config_of(world, tmp_path, run={"steps": 50}, validation={"every": 40})
    result = unet_batch.train(config, hooks=hooks)
    assert (result.finished, result.ended, result.step) == (True, "hook", 3)
    assert result.validation
    assert result.test
    assert json.loads((tmp_path / "done.json").read_text())["ended"] == "hook"
    assert unet_batch.train(config) == result


@pytest.mark.parametrize(
    ("section", "says"),
    [
        ({"optimiser": {"learning_rate": 0.5}}, "optimiser.learning_rate is 0.5, there 0.01"),
        ({"sampling": {"patch": 32}}, "sampling.patch"),
    ],
)
def test_a_finished_run_of_other_settings_is_refused(world, finished, section, says):
    with pytest.raises(PlanMismatchError, match=says) as told:
        unet_batch.train(config_of(world, finished, run={"steps": 3}, **section))
    assert "--overwrite" in str(told.value)


def test_where_it_runs_does_not_matter(world, finished):
    same = {"run": {"steps": 3, "device": "auto", "join_seconds": 3}, "sampling": {"threads": 0}}
    assert unet_batch.train(config_of(world, finished, **same)).finished


def test_changed_labels_are_told_and_begun_anew(tmp_path):
    world = write_world(tmp_path)
    config = config_of(world, tmp_path / "run", run={"steps": 2})
    unet_batch.train(config)
    labels = zarr.open_array(world / "labels.zarr", mode="r+")
    labels[0, :8] = 1 - labels[0, :8]
    with pytest.raises(PlanMismatchError, match=r"labels\.zarr has changed since"):
        unet_batch.train(config)
    (tmp_path / "run" / "mine.txt").write_text("kept")
    watch = Watch()
    anew = config_of(world, tmp_path / "run", run={"steps": 2, "overwrite": True})
    assert unet_batch.train(anew, hooks=watch.hooks).finished
    assert [progress.step for progress in watch.steps] == [1, 2]
    assert (tmp_path / "run" / "mine.txt").exists()


def test_a_run_of_an_older_version_is_left_alone(world, finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    (out / "labels.json").unlink()
    done = json.loads((out / "done.json").read_text())
    del done["ended"]
    (out / "done.json").write_text(json.dumps(done))
    assert unet_batch.train(config_of(world, out, run={"steps": 3})).finished


def cross_entropy(logits, labels, weights):
    found = functional.cross_entropy(logits, labels, reduction="none")
    return (weights * found).sum() / weights.sum()


def test_a_loss_of_ones_own_is_what_is_made_small(world, tmp_path):
    losses = []
    for name, own in (("own", cross_entropy), ("ours", None)):
        watch = Watch()
        config = config_of(
            world, tmp_path / name, run={"steps": 4}, objective=LossConfig(kind="cross_entropy").model_dump()
        )
        unet_batch.train(config, hooks=watch.hooks, loss=own)
        losses.append(watch.losses)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_loss_that_is_no_number_is_one_line():
    target = Target(torch.zeros(1, 4, 4, dtype=torch.int64), torch.ones(1, 4, 4))
    term = WeightedLoss(((1.0, OwnTerm(lambda logits, _labels, _weights: logits)),))
    with pytest.raises(InputError, match=r"loss gives \(1, 2, 4, 4\)"):
        term([torch.zeros(1, 2, 4, 4)], target, lambda sums: sums)


def test_curves_of_many_scores_are_several_panels(tmp_path):
    names = [f"dice_class_{i}" for i in range(13)]
    head = ",".join([*STEP_COLUMNS, *names])
    row = ",".join(["1", *["0.5"] * (len(STEP_COLUMNS) - 1), *["0.5"] * len(names)])
    heights = []
    for columns in (1, 13):
        kept = len(STEP_COLUMNS) + columns
        lines = (",".join(line.split(",")[:kept]) for line in (head, row))
        (tmp_path / "metrics.csv").write_text("\n".join(lines) + "\n")
        draw_curves(tmp_path / "metrics.csv", tmp_path / "curves.png")
        heights.append(np.asarray(matplotlib.image.imread(tmp_path / "curves.png")).shape[0])
    assert heights[1] == 2 * heights[0]

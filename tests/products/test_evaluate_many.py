# Many masks against their truths: instances, tables, and an interval that does not change from run to run.

import csv
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.cli.program import call
from tests.products.test_evaluate import NAMES, labels, store_masks, store_truth
from unet_batch.errors import InputError, MissingError
from unet_batch.instances.agreement import Agreement
from unet_batch.products.evaluate import evaluate
from unet_batch.products.evaluate_many import Spread, evaluate_many
from unet_batch.training.metrics.instances import InstanceTally
from unet_batch.training.metrics.membranes import compare

numbers = arrays(np.uint32, (6, 7), elements=st.sampled_from([0, 1, 2, 3, 70_000]))


@settings(max_examples=50, deadline=None)
@given(numbers, numbers, st.integers(0, 6))
def test_agreement_adds_up_and_is_that_of_validation(truth, found, cut):
    parts = Agreement.of(truth[:cut], found[:cut]) + Agreement.of(truth[cut:], found[cut:])
    scores = parts.scores()
    tally = InstanceTally()
    tally.add(truth, found)
    expected = tally.scores()
    partition = compare(truth, found)
    if partition is not None:
        expected |= {
            "v_rand": partition.v_rand,
            "v_info": partition.v_info,
            "rand_error": partition.rand_error,
        }
    assert scores == pytest.approx(expected, abs=1e-9)


def cells(shift=0):
    """Three discs as numbers, and as background, cell and border."""
    y, x = np.mgrid[:48, :48]
    found = np.zeros((48, 48), np.uint16)
    for number, (cy, cx) in enumerate([(10, 10), (12, 34), (34, 20)], start=1):
        found[(y - cy) ** 2 + (x - cx - shift) ** 2 < 36] = number
    classes = (found > 0).astype(np.uint8)
    edge = np.zeros_like(found, bool)
    for axis in (0, 1):
        for step in (1, -1):
            edge |= np.roll(found, step, axis) != found
    classes[edge & (found > 0)] = 2
    return found, classes


def test_classes_with_a_border_are_judged_as_instances(tmp_path):
    truth, classes = cells()
    masks = store_masks(tmp_path / "m", classes[None])
    found = evaluate(masks, store_truth(tmp_path / "t", truth), label_kind="instances")
    assert found.objects == (3, 3)
    assert found.instances["mean_ap"] == found.instances["v_rand"] == found.classes["instance"].dice == 1.0
    moved = store_masks(tmp_path / "moved", cells(shift=3)[1][None])
    worse = evaluate(moved, tmp_path / "t", label_kind="instances")
    assert 0 < worse.instances["mean_ap"] < worse.instances["ap50"] == 1.0
    answer = call("evaluate", moved, tmp_path / "t", "--label-kind", "instances").out
    assert "3 instances found, 3 in the truth" in answer
    assert "ap50 1.0000" in answer


def test_numbers_are_compared_with_numbers(tmp_path):
    truth, _ = cells()
    masks = store_masks(tmp_path / "m", truth[None], kind="instances", names=("cell",))
    with pytest.raises(InputError, match="--label-kind instances"):
        evaluate(masks, store_truth(tmp_path / "t", truth))
    assert evaluate(masks, tmp_path / "t", label_kind="instances").instances["mean_ap"] == 1.0


@pytest.fixture
def folders(tmp_path):
    for place, seed in (("masks", 0), ("truths", 1)):
        (tmp_path / place).mkdir()
        for number, name in enumerate(("a", "b", "c")):
            pixels = labels((20, 20), 3, seed + 10 * number)
            store = tmp_path / place / f"{name}.zarr"
            store_masks(store, pixels[None]) if place == "masks" else store_truth(store, pixels)
    return tmp_path


def test_folders_give_a_table(folders):
    found = evaluate_many(folders / "masks", folders / "truths")
    alone = evaluate(folders / "masks" / "b.zarr", folders / "truths" / "b.zarr")
    assert list(found.images) == ["a", "b", "c"]
    assert found.images["b"].to_json() == alone.to_json()
    means = [one.mean_dice for one in found.images.values()]
    spread = found.spreads["mean_dice"]
    assert spread.mean == pytest.approx(np.mean(means))
    assert (spread.least, spread.largest, spread.images) == (min(means), max(means), 3)
    assert spread.least <= spread.interval[0] <= spread.mean <= spread.interval[1] <= spread.largest
    assert spread == evaluate_many(folders / "masks", folders / "truths").spreads["mean_dice"]


def test_the_command_line_prints_and_writes_it(folders):
    masks, truths, table = folders / "masks", folders / "truths", folders / "scores.csv"
    said = call("evaluate-many", masks, truths, "--csv", table).out.splitlines()
    assert [line.split()[0] for line in said] == ["image", "a", "b", "c", "mean", "range", "95"]
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    told = json.loads(call("evaluate-many", masks, truths, "--json").out)
    assert float(rows[1]["mean_dice"]) == told["images"]["b"]["mean_dice"]
    assert set(told["scores"]["mean_dice"]) == {"mean", "min", "max", "interval_95", "images"}
    assert set(rows[0]) >= {f"dice_{name}" for name in NAMES}


def test_what_cannot_be_paired_is_told(folders):
    with pytest.raises(InputError, match=r"no truth of the name b among 1 \(a\)"):
        evaluate_many(folders / "masks", [folders / "truths" / "a.zarr"])
    with pytest.raises(InputError, match="given twice"):
        evaluate_many([folders / "masks", folders / "masks" / "a.zarr"], folders / "truths")
    with pytest.raises(MissingError):
        evaluate_many(folders / "none", folders / "truths")
    (folders / "empty").mkdir()
    with pytest.raises(InputError, match="no Zarr stores"):
        evaluate_many(folders / "empty", folders / "truths")
    with pytest.raises(InputError, match="'classes' or 'instances'"):
        evaluate_many(folders / "masks", folders / "truths", label_kind="objects")


def test_one_image_has_no_interval():
    assert Spread.of([0.5]) == Spread(0.5, 0.5, 0.5, None, 1)

# Classes and regression: names, means, and formulas by numpy and scikit-image.

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from unet_batch.training.metrics.classes import ClassTally
from unet_batch.training.metrics.regression import RegressionTally


def test_classes_by_hand():
    truth = np.array([[0, 0, 1, 1, 2, 255]])
    found = np.array([[0, 1, 1, 1, 0, 2]])
    scores = ClassTally.empty(("a", "b", "c"), exclusive=True).plus(truth[None], found[None], 255).scores()
    assert scores["dice_a"] == pytest.approx(2 / 4)
    assert scores["dice_b"] == pytest.approx(4 / 5)
    assert scores["dice_c"] == 0
    assert scores["mean_dice"] == pytest.approx((0.5 + 0.8) / 3)
    assert scores["pixel_error"] == pytest.approx(2 / 5)
    assert scores["foreground_iou"] == pytest.approx(2 / 4)


def test_channels_are_scored_each_for_itself():
    truth = np.array([[1, 1, 0, 255], [0, 0, 1, 1]])
    found = np.array([[1, 0, 0, 1], [0, 0, 1, 1]])
    scores = ClassTally.empty(("a", "b"), exclusive=False).plus(truth, found, 255).scores()
    assert scores["dice_a"] == pytest.approx(2 / 3)
    assert scores["dice_b"] == 1
    assert "foreground_iou" not in scores


def test_two_exclusive_classes_are_not_two_channels():
    assert ClassTally.empty(("a", "b"), exclusive=True).exclusive
    assert not ClassTally.empty(("a", "b"), exclusive=False).exclusive


def test_what_no_box_shows_has_no_score():
    truth = np.zeros((1, 4), int)
    scores = ClassTally.empty(("a", "b"), exclusive=True).plus(truth, truth, 255).scores()
    assert "dice_b" not in scores
    assert scores["mean_dice"] == 1


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(2, 20, 24)).astype(np.float32)
    return truth, (truth + rng.normal(0, 0.3, truth.shape)).astype(np.float32)


def test_regression_by_other_programs(images):
    truth, found = images
    tally = RegressionTally(("a", "b"), 4.0)
    tally.add(truth, found)
    scores = tally.scores()
    for channel, name in enumerate("ab"):
        pair = (truth[channel].astype(float), found[channel].astype(float))
        assert scores[f"psnr_{name}"] == pytest.approx(peak_signal_noise_ratio(*pair, data_range=4.0))
        assert scores[f"ssim_{name}"] == pytest.approx(structural_similarity(*pair, data_range=4.0))
        assert scores[f"pearson_{name}"] == pytest.approx(np.corrcoef(pair[0].ravel(), pair[1].ravel())[0, 1])
    assert scores["psnr"] == pytest.approx((scores["psnr_a"] + scores["psnr_b"]) / 2)


def test_unknown_targets_are_left_out(images):
    truth, found = images
    partly, spoilt = truth.copy(), found.copy()
    partly[:, 10:], spoilt[:, 10:] = np.nan, 1e6
    half, whole = RegressionTally(("a", "b"), 4.0), RegressionTally(("a", "b"), 4.0)
    half.add(partly, spoilt)
    whole.add(truth[:, :10], found[:, :10])
    assert half.scores()["psnr"] == pytest.approx(whole.scores()["psnr"])
    assert half.scores()["pearson"] == pytest.approx(whole.scores()["pearson"])


def test_boxes_of_parts_add_up(images):
    truth, found = images
    whole, parts = RegressionTally(("a", "b"), 4.0), [RegressionTally(("a", "b"), 4.0) for _ in range(2)]
    for part, rows in zip(parts, (slice(8), slice(8, 20)), strict=True):
        part.add(truth[:, rows], found[:, rows])
    whole.add(truth, found)
    for name in ("psnr", "pearson"):
        assert (parts[0] + parts[1]).scores()[name] == pytest.approx(whole.scores()[name])

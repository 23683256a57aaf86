"""Scores of small confusion matrices by hand; counts of blocks add up."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from unet_batch.models.metrics import confusion, scores


def test_scores_by_hand():
    found = scores(np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]]))
    assert found.dice == pytest.approx((12 / 15, 6 / 9, None))
    assert found.iou == pytest.approx((6 / 9, 3 / 6, None))
    assert found.precision == pytest.approx((6 / 7, 3 / 5, None))
    assert found.recall == pytest.approx((6 / 8, 3 / 4, None))
    assert found.accuracy == pytest.approx(9 / 12)
    assert found.mean_dice == pytest.approx((12 / 15 + 6 / 9) / 2)
    assert found.mean_iou == pytest.approx((6 / 9 + 3 / 6) / 2)


def test_a_class_that_the_truth_lacks_is_in_no_mean():
    found = scores(np.array([[4, 1], [0, 0]]))
    assert (found.dice[1], found.iou[1], found.precision[1], found.recall[1]) == (None, None, 0, None)
    assert found.mean_dice == pytest.approx(8 / 9)


def test_nothing_to_score():
    found = scores(np.zeros((2, 2), int))
    assert (found.accuracy, found.mean_dice, found.mean_iou) == (None, None, None)


@given(arrays(np.uint8, (2, 12), elements=st.sampled_from([0, 1, 2, 255])), st.integers(0, 12))
def test_counts_of_parts_add_up(labels, cut):
    truth, predicted = labels
    whole = confusion(truth, predicted, 3, ignore=255)
    parts = [confusion(truth[part], predicted[part], 3, 255) for part in (slice(cut), slice(cut, None))]
    assert (whole == parts[0] + parts[1]).all()
    for row in range(3):
        for column in range(3):
            assert whole[row, column] == ((truth == row) & (predicted == column)).sum()


def test_labels_that_are_no_class():
    with pytest.raises(ValueError, match="the prediction holds label 3"):
        confusion(np.array([0]), np.array([3]), 3)
    with pytest.raises(ValueError, match="the truth holds label -1"):
        confusion(np.array([-1]), np.array([0]), 3)
    with pytest.raises(ValueError, match="shape"):
        confusion(np.zeros(2, int), np.zeros(3, int), 2)

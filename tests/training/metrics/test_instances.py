# Instances matched with the true ones, by cases counted by hand.

import numpy as np
import pytest

from unet_batch.training.metrics.instances import InstanceTally, overlaps


def squares(*boxes, shape=(20, 20)):
    labels = np.zeros(shape, np.int32)
    for number, (y, x, size) in enumerate(boxes, start=1):
        labels[y : y + size, x : x + size] = number
    return labels


def scores(*pairs):
    tally = InstanceTally()
    for truth, found in pairs:
        tally.add(truth, found)
    return tally.scores()


def test_overlaps_by_hand():
    truth, found = squares((0, 0, 4), (10, 10, 4)), squares((0, 0, 4), (10, 12, 4))
    assert overlaps(truth, found) == pytest.approx(np.array([[1, 0], [0, 8 / 24]]))


def test_everything_right_is_one():
    labels = squares((0, 0, 4), (10, 10, 4))
    assert set(scores((labels, labels)).values()) == {1.0}


def test_precision_counts_missed_and_wrong():
    """Of three true ones one is right, one off (IoU 12/20 = 0.6, not above it), one missed; one is wrong."""
    truth = squares((0, 0, 4), (10, 10, 4), (0, 10, 4))
    found = squares((0, 0, 4), (10, 11, 4), (15, 0, 4))
    result = scores((truth, found))
    assert result["ap50"] == pytest.approx(2 / (3 + 3 - 2))
    assert result["ap60"] == pytest.approx(1 / (3 + 3 - 1))
    assert result["ap90"] == pytest.approx(1 / (3 + 3 - 1))
    assert result["mean_ap"] == pytest.approx((0.5 + 4 * 0.2) / 5)


def test_images_count_alike_and_empty_ones_not():
    one, none = squares((0, 0, 4)), squares()
    assert scores((one, one), (one, none), (none, none))["ap50"] == pytest.approx(0.5)
    assert scores((none, none)) == {}


def test_a_plane_that_is_all_one_instance():
    full = np.ones((4, 4), np.int32)
    assert scores((full, full))["ap90"] == 1


def test_images_of_parts_add_up():
    one, two, none = squares((0, 0, 4)), squares((0, 0, 4), (9, 9, 5)), squares()
    pairs = [(one, two), (two, two), (two, none)]
    parts = [InstanceTally() for _ in pairs]
    for part, pair in zip(parts, pairs, strict=True):
        part.add(*pair)
    assert (parts[0] + parts[1] + parts[2]).scores() == pytest.approx(scores(*pairs))

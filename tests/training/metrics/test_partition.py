# Partitions against scikit-image and against cases counted by hand.

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import adapted_rand_error

from unet_batch.training.metrics.membranes import MembraneTally, cells, compare, thinned

SEGMENTS = arrays(np.int32, (6, 6), elements=st.integers(0, 4))


@given(SEGMENTS, SEGMENTS)
def test_the_adapted_rand_error_is_scikit_images(truth, found):
    scores = compare(truth, found)
    if scores is None:
        assert not truth.any()
        return
    with np.errstate(invalid="ignore"):
        error, _, _ = adapted_rand_error(truth, found, ignore_labels=(0,))
    if np.isnan(error):  # no pair of pixels lies in one segment
        error = 0
    assert scores.rand_error == pytest.approx(error, abs=1e-9)


@given(SEGMENTS, SEGMENTS)
def test_scores_lie_within_their_range(truth, found):
    scores = compare(truth, found)
    assert scores is None or (0 <= scores.v_rand <= 1 + 1e-9 and -1e-9 <= scores.v_info <= 1 + 1e-9)


@given(SEGMENTS)
def test_the_names_of_segments_do_not_matter(truth):
    scores = compare(truth, np.array([9, 3, 7, 1, 5])[truth])
    assert scores is None or (scores.v_rand, scores.v_info) == pytest.approx((1, 1))


def test_a_merged_pair_by_hand():
    """Two true halves as one segment: V-Rand = (1/2) / (1/2 (1/2) + 1/2 (1)); which half, nobody learns."""
    truth = np.repeat([1, 2], 8).reshape(4, 4)
    scores = compare(truth, np.ones((4, 4), int))
    assert scores.v_rand == pytest.approx(0.5 / 0.75)
    assert scores.v_info == pytest.approx(0)


def test_a_split_by_hand():
    """One segment cut in two: as bad as the merger for V-Rand; V-Info is 0 of half a bit."""
    scores = compare(np.ones((4, 4), int), np.repeat([1, 2], 8).reshape(4, 4))
    assert scores.v_rand == pytest.approx(0.5 / 0.75)
    assert scores.v_info == pytest.approx(0)


def test_membranes_of_the_truth_take_no_part():
    truth = np.array([[1, 1, 0, 2, 2]])
    assert compare(truth, np.array([[5, 5, 5, 6, 6]])).v_rand == pytest.approx(1)


def wall(thickness, gap=False):
    membrane = np.zeros((21, 21), bool)
    membrane[:, 10 - thickness // 2 : 10 + thickness // 2 + 1] = True
    if gap:
        membrane[10] = False
    return membrane


def test_cells_are_joined_along_edges_only():
    membrane = np.array([[0, 1], [1, 0]], bool)
    assert cells(membrane).max() == 2


@pytest.mark.parametrize("thickness", [1, 3, 7])
def test_membranes_are_thinned_to_lines(thickness):
    lines = thinned(wall(thickness))
    assert ((lines == 0).sum(axis=1) == 1).all()
    assert lines.max() == 2


def test_a_plane_of_membrane_alone_has_no_cell():
    assert not thinned(np.ones((5, 5), bool)).any()


def test_a_gap_costs_what_a_merger_costs():
    tally = MembraneTally((0.5,))
    tally.add(wall(3), np.ones((21, 21), bool), wall(5).astype(float))
    assert tally.scores()["v_rand"] == pytest.approx(1)
    tally = MembraneTally((0.5,))
    tally.add(wall(3), np.ones((21, 21), bool), wall(3, gap=True).astype(float))
    assert tally.scores()["v_rand"] == pytest.approx(0.5 / 0.75, abs=0.01)
    assert tally.scores()["v_info"] == pytest.approx(0, abs=0.01)


def test_the_best_threshold_is_kept():
    probability = np.where(wall(3), 0.6, 0.3)
    tally = MembraneTally((0.2, 0.5, 0.8))
    tally.add(wall(3), np.ones((21, 21), bool), probability)
    assert tally.scores()["membrane_threshold"] == 0.5


def test_unlabelled_pixels_part_no_cells_and_count_for_none():
    known = np.ones((21, 21), bool)
    known[:, 12:] = False
    tally = MembraneTally((0.5,))
    tally.add(wall(3), known, np.ones((21, 21)))  # one cell is known: a merger cannot be seen
    assert tally.scores()["v_rand"] == pytest.approx(1)


def test_planes_of_parts_add_up():
    planes = [(wall(3), wall(3)), (wall(3), wall(3, gap=True)), (wall(1), wall(5))]
    whole, parts = MembraneTally((0.4, 0.5)), [MembraneTally((0.4, 0.5)) for _ in planes]
    for part, (truth, found) in zip(parts, planes, strict=True):
        for tally in (whole, part):
            tally.add(truth, np.ones((21, 21), bool), found.astype(float))
    assert (parts[0] + parts[1] + parts[2]).scores() == pytest.approx(whole.scores())

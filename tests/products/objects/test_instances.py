"""Instances of a border-class network: interiors grown into the border, equal for any block size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import watershed

from tests.products.objects.test_partition import check_table, expected, found
from tests.products.worlds import cells
from unet_batch.products.objects.local import components, grow

NAMES = ("background", "cell", "border")


def distances(seeds, mask):
    """Steps by faces through ``mask`` from each pixel to the nearest seed: plain search, layer by layer."""
    steps, reached, count = np.where(seeds > 0, 0, -1), seeds > 0, 0
    while True:
        count += 1
        wider = ndimage.binary_dilation(reached) & mask
        if (wider == reached).all():
            return steps
        steps[wider & ~reached] = count
        reached = wider | reached


@settings(max_examples=8, deadline=None)
@given(st.data())
def test_blocks_change_nothing(tmp_path_factory, data):
    shape = data.draw(st.tuples(st.integers(8, 60), st.integers(8, 60)))
    labels = cells(shape, data.draw(st.integers(0, 999)), 3)
    reach = data.draw(st.integers(1, 9))
    folder = tmp_path_factory.mktemp("instances")
    block = data.draw(st.tuples(st.integers(7, 40), st.integers(7, 40)))
    (folder / "whole").mkdir()
    numbers, table, _ = found(folder, labels, names=NAMES, block=block, reach=reach)
    whole, _, _ = found(folder / "whole", labels, names=NAMES, block=labels.shape, reach=reach)
    np.testing.assert_array_equal(numbers, whole)
    check_table(table, numbers, np.where(numbers > 0, 1, 0))


@pytest.mark.parametrize("shape", [(60, 71), (15, 22, 20)])
def test_they_are_those_of_a_watershed(tmp_path, shape):
    labels = cells(shape, 5)
    numbers, _, done = found(tmp_path, labels, "zyx"[-len(shape) :], names=NAMES, block=16, reach=20)
    seeds = expected(labels, 1, classes=(1,))
    flood = watershed(np.zeros(shape), seeds, mask=labels > 0)
    assert done.objects == {"cell": seeds.max()} == {"cell": flood.max()}
    np.testing.assert_array_equal(numbers > 0, flood > 0)
    pairs = np.unique(np.stack([seeds[seeds > 0], numbers[seeds > 0]]), axis=1)
    assert pairs.shape[1] == seeds.max(), "every interior is one instance of its own"
    renamed = np.zeros(seeds.max() + 1, int)
    renamed[pairs[0]] = pairs[1]
    assert (renamed[flood] == numbers).mean() > 0.97


def test_each_pixel_goes_to_a_nearest_interior():
    labels = cells((80, 80), 2, 4)
    seeds = components(np.where(labels == 1, 1, 0).astype("u2"), 1)
    grown, _ = grow(seeds, np.where(labels == 1, 1, 0).astype("u2"), labels == 2, 100)
    own = np.full(labels.shape, -1)
    for one in range(1, seeds.max() + 1):
        mine = distances(np.where(seeds == one, 1, 0), (labels == 2) | (seeds == one))
        own = np.where(grown == one, mine, own)
    nearest = distances(seeds, labels > 0)
    np.testing.assert_array_equal(own[grown > 0], nearest[grown > 0])


def test_growth_ends_at_the_reach():
    classes = np.zeros((1, 20), "u2")
    classes[0, 3] = 1
    grown, kinds = grow(components(classes, 1), classes, np.ones(classes.shape, bool), 4)
    assert (grown[0] > 0).nonzero()[0].tolist() == list(range(8))
    np.testing.assert_array_equal(kinds, grown)


def test_ties_go_to_the_pixel_that_comes_first():
    classes = np.array([[1, 0, 1], [0, 0, 0], [1, 0, 1]], "u2")
    grown, _ = grow(components(classes, 1), classes, np.ones(classes.shape, bool), 4)
    assert grown.tolist() == [[1, 1, 2], [1, 1, 2], [3, 3, 4]]

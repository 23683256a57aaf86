"""Instances of a border-class network: interiors grown into the border, equal for any block size."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.segmentation import watershed

from tests.products.objects.test_partition import check_table, expected, found
from tests.products.worlds import cells

NAMES = ("background", "cell", "border")


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

"""Instances: connected pixels of a class, grown into the border up to the reach, ties by raster order."""

import numpy as np
import pytest
from scipy import ndimage

from tests.products.worlds import cells
from unet_batch.instances.labels import components, grow, instances, without_small
from unet_batch.models.instance_rules import InstanceRules
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.training.config import InstanceScores


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


def test_touching_objects_with_seeds_of_their_own_stay_apart():
    border = np.zeros((9, 20), bool)
    border[2:7, 2:18] = True
    interior = np.zeros_like(border)
    interior[3:6, 3:9] = interior[3:6, 11:17] = True
    found, _ = instances(interior.astype("u2"), border & ~interior, connectivity=1, reach=16)
    assert found.max() == 2
    np.testing.assert_array_equal(found > 0, border)
    assert (found[2:7, 2:10] == found[4, 4]).all()
    assert (found[2:7, 10:18] == found[4, 14]).all()


def test_a_border_without_an_interior_is_no_instance():
    border = np.zeros((9, 20), bool)
    border[1:3, 1:3] = border[5:8, 15:18] = True
    interior = np.zeros_like(border)
    interior[2, 2] = True
    found, _ = instances(interior.astype("u2"), border & ~interior, connectivity=1, reach=16)
    np.testing.assert_array_equal(found > 0, border & (np.arange(20) < 10))


def test_without_a_border_nothing_grows():
    classes = np.array([[1, 1, 0, 2]], "u2")
    labels, kinds = instances(classes, None, connectivity=1, reach=16)
    assert labels.tolist() == [[1, 1, 0, 2]]
    np.testing.assert_array_equal(kinds, classes)


def test_volumes_grow_too():
    interior = np.zeros((5, 9, 9), bool)
    interior[2, 4, 4] = True
    border = np.zeros_like(interior)
    border[1:4, 2:7, 2:7] = True
    found, _ = instances(interior.astype("u2"), border & ~interior, connectivity=1, reach=16)
    np.testing.assert_array_equal(found > 0, border)


@pytest.mark.parametrize(
    ("smallest", "expected"), [(1, [1, 1, 0, 2, 3, 3]), (2, [1, 1, 0, 0, 2, 2]), (3, [0] * 6)]
)
def test_small_ones_are_left_out_and_the_others_numbered_anew(smallest, expected):
    labels = np.array([[1, 1, 0, 2, 3, 3]], np.int32)
    assert without_small(labels, smallest).tolist() == [expected]


def test_validation_and_products_share_rules_and_defaults():
    for settings in (ObjectsConfig(), InstanceScores()):
        values = {name: getattr(settings, name) for name in InstanceRules.model_fields}
        assert values == InstanceRules().model_dump()


def test_settings_are_completed_by_what_they_do_not_say():
    rules = InstanceRules(reach=3, smallest=20)
    found = ObjectsConfig(smallest=1, dims=2).completed_by(rules)
    assert (found.reach, found.smallest, found.dims) == (3, 1, 2)
    assert ObjectsConfig().completed_by(None) == ObjectsConfig()

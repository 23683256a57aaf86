"""Instance labels: border and weight map agree with the plain definition, wherever a patch begins."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.segmentation import find_boundaries

from tests.training.data.labelled import coordinates, opened, spec_of, write_pair
from unet_batch.errors import ConfigError, InputError
from unet_batch.tiling import Box
from unet_batch.training.augment.config import AugmentConfig
from unet_batch.training.data.config import BorderWeights, InstanceClasses, SamplingConfig
from unet_batch.training.data.instances import BorderWeightMap, InteriorBorder
from unet_batch.training.data.labels import LabelForm
from unet_batch.training.data.loader import Loader

FORM = LabelForm("multiclass", ("background", "interior", "border"))


def blobs(shape, seed=0, count=12, radius=5):
    """Touching round instances."""
    rng = np.random.default_rng(seed)
    seeds = np.zeros(shape, np.int32)
    for number in range(1, count + 1):
        seeds[tuple(rng.integers(0, n) for n in shape)] = number
    distance, nearest = ndimage.distance_transform_edt(seeds == 0, return_indices=True)
    return np.where(distance <= radius, seeds[tuple(nearest)], 0).astype(np.uint16)


def plain_weights(ids, w0, sigma):
    """Eq. 2 of the paper as it stands."""
    distances = np.sort([ndimage.distance_transform_edt(ids != i) for i in np.unique(ids[ids > 0])], axis=0)
    added = w0 * np.exp(-((distances[0] + distances[1]) ** 2) / (2 * sigma**2))
    return 1 + np.where(ids > 0, 0, added)


@pytest.mark.parametrize("shape", [(40, 50), (12, 20, 22)])
@pytest.mark.parametrize(("border", "mode"), [("thick", "thick"), ("inner", "inner")])
def test_a_border_of_one_pixel_is_that_of_scikit_image(shape, border, mode):
    ids = blobs(shape)
    rule = InteriorBorder(InstanceClasses(radius=1, border=border), FORM, 65535, len(shape))
    expected = find_boundaries(ids, connectivity=1, mode=mode)
    classes = rule(ids[np.newaxis])[0]
    assert np.array_equal(classes == 2, expected)
    assert np.array_equal(classes == 1, (ids > 0) & ~expected)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.sampled_from([1.0, 1.5, 2.0, 2.5, 3.0, 4.0]))
def test_a_border_holds_what_lies_within_the_radius(seed, radius):
    ids = blobs((30, 34), seed)
    classes = InteriorBorder(InstanceClasses(radius=radius), FORM, 65535, 2)(ids[np.newaxis])[0]
    for number in np.unique(ids[ids > 0]):
        near = ndimage.distance_transform_edt(ids == number) <= radius + 1e-9
        assert np.array_equal(classes[ids == number] == 2, near[ids == number])


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 100), st.sampled_from([0.2, 0.3, 0.5]))
def test_a_core_leaves_a_share_of_the_width_to_the_border(seed, core):
    ids = blobs((40, 44), seed, count=8, radius=9)
    rule = InteriorBorder(InstanceClasses(radius=1, core=core), FORM, 65535, 2)
    classes, thin = (
        rule(ids[np.newaxis])[0],
        InteriorBorder(InstanceClasses(), FORM, 65535, 2)(ids[np.newaxis])[0],
    )
    for number in np.unique(ids[ids > 0]):
        depth = ndimage.distance_transform_edt(ids == number)
        expected = (depth > core * depth.max()) & (thin == 1)
        assert np.array_equal((classes == 1)[ids == number], expected[ids == number])
    assert np.array_equal(classes > 0, ids > 0)


def test_cores_are_those_of_the_whole_instance_in_every_cell(tmp_path):
    ids = np.zeros((270, 300), np.uint16)
    ids[230:268, 240:290] = 5  # across the cells' edges at 256
    source = write_pair(tmp_path, coordinates(ids.shape), ids, "yx", label_kind="instances")
    spec = spec_of(("background", "interior", "border"))
    (region,) = opened(source, spec, instances={"core": 0.4}).train
    rule = InteriorBorder(InstanceClasses(core=0.4), FORM, 65535, 2)
    assert np.array_equal(region.read_labels(region.box)[0], rule(ids[np.newaxis])[0])


def test_a_core_needs_an_inner_border_and_an_edge():
    with pytest.raises(ConfigError, match="needs border inner"):
        InstanceClasses(core=0.3, border="thick")
    whole = InteriorBorder(InstanceClasses(core=0.3), FORM, 65535, 2)(np.full((1, 9, 9), 4, np.uint16))
    assert (whole == 1).all()


def test_unlabelled_pixels_stay_so_and_make_no_border():
    ids = np.ones((1, 8, 8), np.uint16)
    ids[:, :, 4:] = 65535
    classes = InteriorBorder(InstanceClasses(), FORM, 65535, 2)(ids)
    assert (classes[:, :, :4] == 1).all()
    assert (classes[:, :, 4:] == 255).all()


def test_weights_are_those_of_the_paper():
    ids = blobs((60, 70), count=20, radius=4)
    rule = BorderWeightMap(BorderWeights(w0=10, sigma=3), 65535, 2)
    found = rule(ids[np.newaxis])[0]
    assert np.abs(found - plain_weights(ids, 10, 3)).max() < 0.005
    assert found.max() > 3


def test_weights_inside_fall_with_the_distance_to_the_other_instance():
    ids = np.zeros((1, 9, 20), np.uint16)
    ids[:, :, 2:10], ids[:, :, 10:18] = 3, 7  # they touch
    rule = BorderWeightMap(BorderWeights(w0=10, sigma=3, inside=True), 65535, 2)
    found = rule(ids)[0, 4]
    assert np.allclose(found[2:10], 1 + 10 * np.exp(-(np.arange(8, 0, -1.0) ** 2) / 18))
    assert np.allclose(found[10:18], found[2:10][::-1])
    outside = BorderWeightMap(BorderWeights(w0=10, sigma=3), 65535, 2)(ids)[0, 4]
    assert (outside[2:18] == 1).all()
    assert np.array_equal(np.delete(found, np.s_[2:18]), np.delete(outside, np.s_[2:18]))


def test_one_instance_weighs_nothing_and_none_neither():
    rule = BorderWeightMap(BorderWeights(), 65535, 2)
    assert (rule(np.zeros((1, 9, 9), np.uint16)) == 1).all()
    one = np.zeros((1, 9, 9), np.uint16)
    one[0, 3:6, 3:6] = 4
    assert (rule(one) == 1).all()
    assert (rule(np.full((1, 9, 9), 4, np.uint16)) == 1).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_classes_and_weights_do_not_depend_on_the_patch(tmp_path, dims):
    shape = {2: (3, 300, 310), 3: (70, 80, 90)}[dims]
    ids = np.stack([blobs(shape[1:], seed, 60) for seed in range(3)]) if dims == 2 else blobs(shape, 0, 60)
    source = write_pair(tmp_path, coordinates(shape), ids, "zyx", label_kind="instances")
    spec = spec_of(("background", "interior", "border"), dims=dims)
    (region,) = opened(source, spec, border_weights={"sigma": 2}).train
    assert np.array_equal(region.read_instances(region.box)[0], ids)
    classes, weights = region.read_labels(region.box)[0], region.read_weights(region.box)
    rule = InteriorBorder(InstanceClasses(), FORM, 65535, dims)
    assert np.array_equal(classes, rule(ids[np.newaxis])[0])
    for start in ((1, 200, 130), (0, 250, 251)) if dims == 2 else ((30, 40, 50), (60, 60, 60)):
        box = Box(start, tuple(min(a + 20, n) for a, n in zip(start, shape, strict=True)))
        assert np.array_equal(region.read_labels(box)[0], classes[box.slices])
        assert np.array_equal(region.read_weights(box), weights[box.slices])
    expected = (
        np.stack([plain_weights(plane, 10, 2) for plane in ids]) if dims == 2 else plain_weights(ids, 10, 2)
    )
    assert np.abs(weights - expected).max() < 0.005


def test_instances_of_a_class_are_its_parts(tmp_path):
    labels = np.zeros((40, 40), np.uint8)
    labels[5:15, 5:15] = labels[5:15, 18:28] = 1
    source = write_pair(tmp_path, coordinates((40, 40)), labels, "yx")
    weights = {"sigma": 2, "instances_of": "b"}
    sources = opened(source, border_weights=weights)
    (region,) = sources.train
    ids = ndimage.label(labels)[0]
    assert np.abs(region.read_weights(region.box) - plain_weights(ids, 10, 2)).max() < 0.005
    batch = next(Loader(sources, SamplingConfig(patch=(16,), threads=0), AugmentConfig(), 4))
    assert [weights.shape for weights in batch.weights] == [(16, 16)] * 4
    with pytest.raises(InputError, match="border weights need instances"):
        opened(source, border_weights={})


def test_two_classes_leave_the_border_out(tmp_path):
    ids = blobs((40, 40))
    source = write_pair(tmp_path, coordinates((40, 40)), ids, "yx", label_kind="instances")
    assert opened(source, spec_of(("no", "yes"))).counts["yes"] == (ids > 0).sum()
    with pytest.raises(InputError, match="the model has 4 classes, give it two or three"):
        opened(source, spec_of(tuple("abcd")))


def test_numbers_past_16_bits(tmp_path):
    ids = blobs((40, 40)).astype(np.uint32)
    ids[ids > 0] += 100_000
    source = write_pair(tmp_path, coordinates((40, 40)), ids, "yx", label_kind="instances")
    counts = opened(source, spec_of(("background", "interior", "border"))).counts
    assert counts["interior"] + counts["border"] == (ids > 0).sum()

"""Polygons by blocks are those of the whole raster, as rasterio.features.shapes finds them."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import shapes

from tests.products.export.stores import Labels, blobs
from unet_batch.products.export.vector.block import Tracing
from unet_batch.products.export.vector.features import Features
from unet_batch.products.export.vector.stitch import stitched
from unet_batch.products.export.vector.trace import OTHER, Regions, Selection
from unet_batch.tiling import BlockGrid

ALL, NOT_FIRST = (0, 1, 2), (OTHER, 1, 2)


def traced(labels, block, connectivity=4, tolerance=0.0, classes=ALL) -> list[Features]:
    """All features of ``labels``, by blocks."""
    tracing, selection = Tracing(labels.shape[1], connectivity, tolerance), Selection(0, classes)
    grid = BlockGrid(labels.shape, (block,) * 2)
    whole, fragments = [], []
    for one in grid:
        regions = Regions.read(Labels(labels), selection, one.box, everything=tolerance > 0)
        rows = np.arange(one.box.start[0], one.box.stop[0] + 1.0)
        features, rest = tracing(regions, rows)
        whole.append(features)
        fragments.append(rest)
    return [*whole, *stitched(fragments.__getitem__, grid.counts, connectivity)]


def geometries(features, connectivity=4):
    """All polygons, their classes and the areas that are told of them."""
    parts = [one.geometries(one.rings.xy.astype(float), multi=connectivity == 8) for one in features]
    classes = np.concatenate([one.facts.classes for one in features])
    return np.concatenate(parts), classes, np.concatenate([one.facts.weight for one in features])


def reference(labels, connectivity=4, classes=ALL):
    """(polygons, classes) of the whole raster."""
    wanted = np.isin(labels, [c for c in classes if c != OTHER])
    found = list(shapes(labels, mask=wanted, connectivity=connectivity))
    polygons = np.array([shapely.geometry.shape(shape) for shape, _ in found], object)
    return polygons, np.array([value for _, value in found], np.int64)


def facts(polygons, classes):
    """What does not depend on where rings begin: class, area, bounds and perimeter."""
    rows = zip(
        classes, shapely.area(polygons), *shapely.bounds(polygons).T, shapely.length(polygons), strict=True
    )
    return sorted(tuple(float(v) for v in row) for row in rows)


def noisy(height, width, seed, size):
    """Labels at random in squares of ``size`` pixels: corners touch, some of them on the edges of blocks."""
    coarse = np.random.default_rng(seed).choice(np.array([0, 1, 2, 255], np.uint8), (height, width))
    return np.kron(coarse, np.ones((size, size), np.uint8))[:height, :width]


small_labels = st.builds(
    noisy, st.integers(1, 18), st.integers(1, 18), st.integers(0, 10**6), st.integers(1, 3)
)


@settings(max_examples=60)
@given(small_labels, st.integers(1, 8), st.sampled_from([4, 8]), st.sampled_from([ALL, NOT_FIRST]))
def test_polygons_are_those_of_the_whole(labels, block, connectivity, classes):
    found, kinds, weights = geometries(traced(labels, block, connectivity, classes=classes), connectivity)
    expected, values = reference(labels, connectivity, classes)
    assert facts(found, kinds) == facts(expected, values)
    assert shapely.area(found).tolist() == weights.tolist()
    assert shapely.is_valid(found).all()


@settings(max_examples=60)
@given(small_labels, st.integers(1, 8), st.sampled_from([4, 8]))
def test_blocks_leave_no_vertex(labels, block, connectivity):
    whole, _, _ = geometries(traced(labels, 18, connectivity), connectivity)
    found, _, _ = geometries(traced(labels, block, connectivity), connectivity)
    assert sorted(shapely.to_wkb(shapely.normalize(found))) == sorted(
        shapely.to_wkb(shapely.normalize(whole))
    )


@pytest.mark.parametrize("block", [7, 20, 33, 100])
def test_blobs_are_the_same_points(block):
    labels = blobs(100, 90)
    found, kinds, _ = geometries(traced(labels, block))
    expected, values = reference(labels)
    for polygon, kind in zip(found, kinds, strict=True):
        same = shapely.equals(polygon, expected[values == kind])
        assert np.count_nonzero(same) == 1


def test_a_spiral_through_all_blocks_is_one():
    labels = np.zeros((21, 21), np.uint8)
    for ring in range(0, 11, 2):
        labels[ring : 21 - ring, ring : 21 - ring] = 1
        labels[ring + 1 : 20 - ring, ring + 1 : 20 - ring] = 0
        labels[ring + 1, ring] = 0
        labels[ring + 2 : ring + 3, ring + 1] = 1
    found, kinds, _ = geometries(traced(labels, 4))
    assert facts(found, kinds) == facts(*reference(labels))


@settings(max_examples=30)
@given(small_labels, st.integers(2, 9), st.sampled_from([4, 8]), st.sampled_from([0.5, 1.0, 2.0, 5.0]))
def test_simplified_polygons_have_no_gaps_and_no_overlaps(labels, block, connectivity, tolerance):
    labels = np.minimum(labels, 2)
    found, _, weights = geometries(traced(labels, block, connectivity, tolerance), connectivity)
    exact, _, pixels = geometries(traced(labels, block, connectivity), connectivity)
    assert sorted(weights) == sorted(pixels)  # the area told is that of the pixels
    assert len(found) == len(exact)
    assert shapely.is_valid(found).all()
    assert shapely.coverage_is_valid(shapely.get_parts(found))
    assert shapely.area(found).sum() == pytest.approx(labels.size)


@pytest.mark.parametrize("tolerance", [0.5, 2.0, 50.0])
def test_a_block_of_one_region_keeps_what_its_neighbours_need(tolerance):
    labels = np.ones((36, 36), np.uint8)
    for row, column in ((0, 1), (1, 0), (1, 2), (2, 1)):
        labels[row * 12 : row * 12 + 12, column * 12 : column * 12 + 12] = noisy(12, 12, row, 1) % 3
    found, _, _ = geometries(traced(labels, 12, tolerance=tolerance))
    assert shapely.coverage_is_valid(found)
    assert shapely.area(found).sum() == pytest.approx(labels.size)


def test_simplification_takes_stairs_away():
    y, x = np.mgrid[:80, :80]
    labels = (y > x).astype(np.uint8)
    exact, _, _ = geometries(traced(labels, 80))
    plain, _, _ = geometries(traced(labels, 80, tolerance=1.5))
    assert shapely.get_num_coordinates(exact).sum() > 300
    assert shapely.get_num_coordinates(plain).sum() < 20


@pytest.mark.parametrize("tolerance", [1.0, 3.0])
def test_a_class_alone_is_simplified_as_among_the_others(tolerance):
    labels = blobs(60, 60, seed=3)
    alone, _, _ = geometries(traced(labels, 60, tolerance=tolerance, classes=(OTHER, OTHER, 2)))
    binary = np.where(labels == 2, 2, 0).astype(np.uint8)
    among, kinds, _ = geometries(traced(binary, 60, tolerance=tolerance))
    assert facts(alone, [2] * len(alone)) == facts(among[kinds == 2], [2] * len(alone))

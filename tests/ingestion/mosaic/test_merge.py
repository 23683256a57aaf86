"""Overlap rules: against rasterio.merge on random scenes where it has the rule, else against plain loops."""

import numpy as np
import pytest
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.merge import merge

from tests.formats.geo_files import write_scene
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.rules import rim_distance
from unet_batch.ingestion.mosaic.run import ingest_mosaic
from unet_batch.store.image import Image
from unet_batch.tiling.box import Box

# rasterio.merge itself uses what affine is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

NODATA = 0
quick = settings(max_examples=12, deadline=None)


@st.composite
def scene_sets(draw, dtypes=("uint8", "int16", "float32"), bands=(1, 2)):
    """Places and pixels of overlapping scenes; some of the pixels are without data."""
    dtype, count = draw(st.sampled_from(dtypes)), draw(st.sampled_from(bands))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    scenes = []
    for _ in range(draw(st.integers(1, 5))):
        row, column = draw(st.integers(0, 60)), draw(st.integers(0, 60))
        shape = (count, draw(st.integers(1, 70)), draw(st.integers(1, 70)))
        pixels = rng.integers(1, 120, shape).astype(dtype)
        pixels[rng.random(shape) < 0.2] = NODATA
        scenes.append((row, column, pixels))
    return scenes


def written(folder, scenes):
    return [
        write_scene(
            folder / f"{number}.tif", pixels, Affine(10, 0, 500000 + 10 * column, 0, -10, 5000000 - 10 * row),
            nodata=NODATA,
        )
        for number, (row, column, pixels) in enumerate(scenes)
    ]  # fmt: skip


def mosaic(paths, out, **settings):
    ingest_mosaic(paths, out, MosaicConfig(**{"block": 32, "chunk": 16, "workers": 0, **settings}))
    image = Image.open(out)
    return image.read(Box.of_shape(image.shape)), image


def stacked(scenes):
    """(scenes, C, y, x) as floats on the common grid, NaN where there is no data."""
    top, left = min(s[0] for s in scenes), min(s[1] for s in scenes)
    height = max(s[0] + s[2].shape[1] for s in scenes) - top
    width = max(s[1] + s[2].shape[2] for s in scenes) - left
    stack = np.full((len(scenes), scenes[0][2].shape[0], height, width), np.nan)
    for layer, (row, column, pixels) in zip(stack, scenes, strict=True):
        h, w = pixels.shape[1:]
        place = (slice(None), slice(row - top, row - top + h), slice(column - left, column - left + w))
        layer[place] = np.where(pixels == NODATA, np.nan, pixels)
    return stack


@quick
@given(scenes=scene_sets(), rule=st.sampled_from(["first", "last"]))
def test_first_and_last_equal_rasterio(scenes, rule, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    paths = written(folder, scenes)
    expected, transform = merge(paths, method=rule, nodata=NODATA)
    pixels, image = mosaic(paths, folder / "out.zarr", rule=rule)
    np.testing.assert_array_equal(pixels, expected)
    assert image.georef.transform == tuple(transform)[:6]


@quick
@given(scenes=scene_sets())
def test_means_and_counts_follow_from_rasterio(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    paths = written(folder, scenes)
    total, _ = merge(paths, method="sum", nodata=NODATA, dtype="float64")
    count, _ = merge(paths, method="count", nodata=NODATA, dtype="float64")
    mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
    pixels, image = mosaic(paths, folder / "out.zarr", rule="mean")
    if pixels.dtype.kind != "f":
        mean = np.floor(mean + 0.5)
    np.testing.assert_allclose(pixels, mean, rtol=1e-6)
    if len(pixels) == 1:
        np.testing.assert_array_equal(counted(image), count[0])


@quick
@given(scenes=scene_sets())
def test_the_median_of_what_is_there(scenes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    pixels, _ = mosaic(written(folder, scenes), folder / "out.zarr", rule="median")
    ordered = np.ma.median(np.ma.masked_invalid(stacked(scenes)), axis=0).filled(NODATA)
    if pixels.dtype.kind != "f":
        ordered = np.floor(ordered + 0.5)
    np.testing.assert_array_equal(pixels, ordered)


@quick
@given(scenes=scene_sets(bands=(3,)), prefer=st.sampled_from(["high", "low"]))
def test_the_best_takes_all_bands_of_one_scene(scenes, prefer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    pixels, _ = mosaic(written(folder, scenes), folder / "out.zarr", rule="best", quality=1, prefer=prefer)
    stack = stacked(scenes)
    worst = -np.inf if prefer == "high" else np.inf
    quality = np.where(np.isnan(stack[:, 1]), worst, stack[:, 1])
    seen = ~np.isnan(stack).all(axis=1)
    for y, x in np.ndindex(*pixels.shape[1:]):
        here = [i for i in range(len(scenes)) if seen[i, y, x]]
        expected = np.zeros(3)
        if here:
            best = (max if prefer == "high" else min)(quality[here, y, x])
            chosen = next(i for i in here if quality[i, y, x] == best)
            expected = np.nan_to_num(stack[chosen, :, y, x])
        np.testing.assert_array_equal(pixels[:, y, x], expected)


@quick
@given(scenes=scene_sets(bands=(1,)), reach=st.integers(1, 40))
def test_feathering_weighs_by_the_distance_from_a_scenes_rim(scenes, reach, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    pixels, _ = mosaic(written(folder, scenes), folder / "out.zarr", rule="feather", feather=reach)
    stack = stacked(scenes)
    weights = np.stack([plain_distance(~np.isnan(layer[0]))[np.newaxis] for layer in stack]).clip(max=reach)
    total = (np.nan_to_num(stack) * weights).sum(axis=0)
    mean = np.divide(total, weights.sum(axis=0), out=np.zeros(total.shape), where=weights.sum(axis=0) > 0)
    if pixels.dtype.kind != "f":
        mean = np.floor(mean + 0.5)
    np.testing.assert_allclose(pixels, mean, rtol=1e-6)


@quick
@given(scenes=scene_sets(), rule=st.sampled_from(["mean", "median", "feather"]))
def test_the_order_of_scenes_does_not_matter(scenes, rule, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    paths = written(folder, scenes)
    one, _ = mosaic(paths, folder / "one.zarr", rule=rule)
    other, _ = mosaic(paths[::-1], folder / "other.zarr", rule=rule)
    np.testing.assert_array_equal(one, other)


@quick
@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 1000))
def test_rim_distance(height, width, seed):
    valid = np.random.default_rng(seed).random((height, width)) < 0.8
    padded = rim_distance(np.pad(valid, 1))[1:-1, 1:-1]
    np.testing.assert_array_equal(padded, plain_distance(valid))


def plain_distance(valid):
    """Rows plus columns to the nearest pixel that is not valid, or outside."""
    padded = np.pad(valid, 1)
    holes = np.argwhere(~padded)
    return np.array(
        [
            [
                np.abs(holes - (y + 1, x + 1)).sum(axis=1).min() if valid[y, x] else 0
                for x in range(valid.shape[1])
            ]
            for y in range(valid.shape[0])
        ]
    )


def counted(image):
    count = Image.open(image.nodata_mask)
    return count.read(Box.of_shape(count.shape))[0]


@pytest.mark.parametrize("block", [16, 48, 64])
def test_results_do_not_depend_on_blocks(tmp_path, block):
    rng = np.random.default_rng(0)
    scenes = [
        (r, c, rng.integers(1, 99, (1, 60, 50)).astype("uint8")) for r, c in ((0, 0), (30, 20), (5, 45))
    ]
    paths = written(tmp_path, scenes)
    whole, _ = mosaic(paths, tmp_path / "whole.zarr", rule="feather", block=512, chunk=64)
    parts, _ = mosaic(paths, tmp_path / "parts.zarr", rule="feather", block=block)
    np.testing.assert_array_equal(parts, whole)

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout
from unet_batch.store.layout import PyramidLayout
from unet_batch.store.resample import Taps, length_of, resampled
from unet_batch.tiling.box import Box

PIXELS = np.random.default_rng(0).integers(0, 256, (2, 61, 83)).astype("uint8")


def write(folder, pixels=PIXELS, nodata=None):
    layout = PyramidLayout(
        "cyx", pixels.shape[1:], len(pixels), str(pixels.dtype), (128, 128), (32, 32), 2, levels=2
    )
    writer = Image.create(
        folder / "i.zarr", ImageLayout(layout, {"y": 0.25, "x": 0.25}, "micrometer", nodata=nodata)
    )
    writer.write_block(Box.of_shape(pixels.shape[1:]), pixels)
    writer.finish()
    return Image.open(folder / "i.zarr")


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    return write(tmp_path_factory.mktemp("resample"))


def by_definition(line, ratio):
    """Areas or lines by a loop over pixels in double precision."""
    out = []
    for number in range(length_of(len(line), ratio)):
        if ratio >= 1:
            low, high = number * ratio, min((number + 1) * ratio, len(line))
            shares = [max(0.0, min(high, k + 1) - max(low, k)) for k in range(len(line))]
            out.append(np.dot(shares, line) / sum(shares))
        else:
            centre = min(max((number + 0.5) * ratio - 0.5, 0), len(line) - 1)
            out.append(np.interp(centre, range(len(line)), line))
    return np.array(out)


@pytest.mark.parametrize("ratio", [1.0, 1.32, 2.0, 3.7, 0.8, 0.31])
@pytest.mark.parametrize("level", [0, 1])
def test_pixels_are_as_defined(image, ratio, level):
    at = image.at_level(level)
    found = resampled(at, (ratio, ratio))
    assert found.shape == tuple(length_of(n, ratio) for n in at.shape)
    rows = np.apply_along_axis(by_definition, 1, at.read(Box.of_shape(at.shape)).astype(float), ratio)
    expected = np.apply_along_axis(by_definition, 2, rows, ratio)
    difference = found.read(Box.of_shape(found.shape)) - expected
    assert np.abs(difference).max() <= 0.501  # half a grey value, and what float32 loses


def test_a_whole_ratio_is_the_mean_of_a_pyramid(image):
    found = resampled(image, (2.0, 2.0))
    coarse = image.at_level(1)
    whole = Box((0, 0), (30, 41))  # without the halves of pixels past the edge
    np.testing.assert_array_equal(found.read(whole), coarse.read(whole))


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data(), st.sampled_from([1.32, 2.0, 0.8, 5.3]))
def test_any_box_is_a_part_of_the_whole(image, data, ratio):
    found = resampled(image, (ratio, ratio))
    start = [data.draw(st.integers(0, n - 1)) for n in found.shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, found.shape, strict=True)]
    box = Box(tuple(start), tuple(stop))
    whole = found.read(Box.of_shape(found.shape))
    np.testing.assert_array_equal(found.read(box), whole[(slice(None), *box.slices)])


def test_place_size_and_levels(image):
    found = resampled(image.at_level(1), (1.5, 1.5))
    assert found.pixel_size == pytest.approx({"y": 0.75, "x": 0.75})
    assert [level.factor for level in found.levels] == [(1, 1), (3, 3)]
    assert found.view.resample == (1.5, 1.5)
    assert found.identity() == image.identity()


@pytest.mark.parametrize(("dtype", "nodata"), [("uint8", 0), ("float32", float("nan"))])
def test_missing_pixels_are_left_out_of_means(tmp_path, dtype, nodata):
    pixels = np.full((1, 8, 8), 10, dtype)
    pixels[0, :, :3] = nodata
    found = resampled(write(tmp_path, pixels, nodata), (2.0, 2.0))
    expected = np.repeat([[nodata, 10, 10, 10]], 4, axis=0).astype(dtype)
    np.testing.assert_array_equal(found.read(Box((0, 0), (4, 4)))[0], expected)


def test_a_mean_of_data_is_never_taken_for_missing(tmp_path):
    pixels = np.array([[[4, 6], [4, 6]]], "uint8")
    found = resampled(write(tmp_path, pixels, nodata=5), (2.0, 2.0))
    assert found.read(Box((0, 0), (1, 1))).item() == 6


def test_every_share_adds_up_to_one():
    for ratio in (0.3, 1.0, 1.7, 6.0):
        np.testing.assert_allclose(Taps.of(0, length_of(50, ratio), 50, ratio).share.sum(axis=0), 1)

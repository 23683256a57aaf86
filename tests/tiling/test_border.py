import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import ArraySource
from unet_batch.tiling import Box, border

MODES = {"mirror": "reflect", "edge": "edge", "constant": "constant"}


@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    before=st.integers(0, 30),
    after=st.integers(0, 30),
    mode=st.sampled_from(sorted(MODES)),
)
def test_equals_numpy_pad_for_any_shape_and_halo(shape, before, after, mode):
    pixels = np.random.default_rng(0).integers(0, 255, (2, *shape)).astype(np.uint8)
    box = Box.of_shape(shape).grow([before] * len(shape), [after] * len(shape))
    expected = np.pad(pixels, [(0, 0), *[(before, after)] * len(shape)], mode=MODES[mode])
    np.testing.assert_array_equal(border.read(ArraySource(pixels), box, mode), expected)


@given(
    start=st.tuples(st.integers(-40, 40), st.integers(-40, 40)),
    extent=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_any_box_is_a_window_of_the_endless_image(start, extent):
    pixels = np.arange(5 * 9, dtype=np.int32).reshape(1, 5, 9)
    endless = np.pad(pixels, [(0, 0), (80, 80), (80, 80)], mode="reflect")
    box = Box(start, tuple(a + e for a, e in zip(start, extent, strict=True)))
    window = endless[(slice(None), *box.shift((80, 80)).slices)]
    np.testing.assert_array_equal(border.read(ArraySource(pixels), box), window)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_reads_no_pixel_that_it_does_not_need(mode):
    source = ArraySource(np.zeros((1, 100, 100), np.uint8))
    border.read(source, Box((-3, 40), (5, 50)), mode)
    assert source.boxes == [Box((0, 40), (5, 50))]

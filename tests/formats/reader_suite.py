"""What every Reader promises. Subclass it and give the fixtures ``reader`` and ``expected``."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unet_batch.tiling.box import Box


def boxes_within(draw, shape):
    start = tuple(draw(st.integers(0, n - 1)) for n in shape)
    return Box(start, tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)))


class ReaderSuite:
    def test_says_what_it_holds(self, reader, expected):
        assert reader.channels == expected.shape[0]
        assert reader.shape == expected.shape[1:]
        assert reader.dtype == expected.dtype
        assert reader.dtype.isnative
        assert len(reader.axes.replace("c", "")) == len(reader.shape)
        assert ("c" in reader.axes) == (reader.channels > 1)
        assert len(reader.channel_names) in {0, reader.channels}

    def test_whole(self, reader, expected):
        found = reader.read(Box.of_shape(reader.shape))
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype

    @settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
    @given(st.data())
    def test_any_box(self, reader, expected, data):
        box = boxes_within(data.draw, reader.shape)
        np.testing.assert_array_equal(reader.read(box), expected[(slice(None), *box.slices)])

    def test_boxes_are_read_by_threads(self, reader, expected):
        rows = [
            Box((*(0,) * (len(reader.shape) - 2), y, 0), (*reader.shape[:-2], y + 1, reader.shape[-1]))
            for y in range(min(16, reader.shape[-2]))
        ]
        with ThreadPoolExecutor(4) as pool:
            for box, found in zip(rows, pool.map(reader.read, rows), strict=True):
                np.testing.assert_array_equal(found, expected[(slice(None), *box.slices)])

    def test_what_it_gives_belongs_to_the_caller(self, reader, expected):
        box = Box.of_shape(reader.shape)
        reader.read(box)[...] = 0
        np.testing.assert_array_equal(reader.read(box), expected)

    def test_a_box_outside_is_refused(self, reader):
        with pytest.raises(ValueError, match="not inside"):
            reader.read(Box.of_shape(reader.shape).shift((1,) * len(reader.shape)))

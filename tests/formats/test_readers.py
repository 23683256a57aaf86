import numpy as np
import pytest

from tests.fakes import ArraySource
from tests.formats.foreign_files import KINDS, pixels
from tests.formats.reader_suite import ReaderSuite
from unet_batch.formats.opening import open_reader
from unet_batch.formats.reader import ArrangedReader, Facts
from unet_batch.tiling.box import Box


@pytest.fixture(params=KINDS)
def foreign(request):
    return KINDS[request.param]


class TestFormats(ReaderSuite):
    @pytest.fixture
    def expected(self, foreign):
        return foreign.expected

    @pytest.fixture
    def reader(self, foreign, tmp_path):
        with open_reader(foreign.make(tmp_path), foreign.config) as reader:
            yield reader

    def test_axes(self, reader, foreign):
        assert reader.axes == foreign.axes


class InMemory:
    """The smallest StoredArray."""

    def __init__(self, array):
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def read(self, box):
        return self.array[box.slices].copy()

    def close(self):
        self.array = None


ORDERS = {"yx": "yx", "xy": "yx", "yxs": "cyx", "cyx": "cyx", "xczy": "czyx", "tcyxs": "tcyx", "zyxt": "tzyx"}


class TestArranged(ReaderSuite):
    @pytest.fixture(params=ORDERS)
    def stored(self, request):
        return request.param

    @pytest.fixture
    def expected(self, stored):
        """By the slow way: every pixel by its letters."""
        array = self.array(stored)
        extent = dict(zip(stored, array.shape, strict=True))
        places = [a for a in "tzyx" if a in extent]
        channels = [a for a in "cs" if a in extent]
        out = np.empty(
            (np.prod([extent[a] for a in channels], dtype=int), *(extent[a] for a in places)), "uint16"
        )
        for index in np.ndindex(*array.shape):
            at = dict(zip(stored, index, strict=True))
            channel = 0
            for a in channels:
                channel = channel * extent[a] + at[a]
            out[(channel, *(at[a] for a in places))] = array[index]
        return out

    @pytest.fixture
    def reader(self, stored):
        return ArrangedReader("memory", InMemory(self.array(stored)), Facts("memory", stored))

    def array(self, stored):
        sizes = {"t": 2, "c": 3, "z": 4, "y": 6, "x": 5, "s": 2}
        return pixels([sizes[a] for a in stored], ">u2")

    def test_axes(self, reader, stored):
        assert reader.axes == ORDERS[stored]


class TestFake(ReaderSuite):
    """The suite itself accepts a reader that has nothing to do with files."""

    @pytest.fixture
    def expected(self):
        return pixels((2, 9, 8))

    @pytest.fixture
    def reader(self, expected):
        class Fake(ArraySource):
            axes, channels, dtype, channel_names = "cyx", 2, expected.dtype, ()

            def read(self, box):
                if not Box.of_shape(self.shape).contains(box):
                    raise ValueError("not inside")
                return super().read(box).copy()

        return Fake(expected)

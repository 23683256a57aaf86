"""Reading through the cache of decoded chunks."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_batch.store.cache import ChunkCache, ReadCount, read_through, rectangles
from unet_batch.tiling.box import Box


class Pixels:
    """An array in memory that remembers what was read."""

    def __init__(self, shape: tuple[int, ...], chunk: tuple[int, ...]) -> None:
        self.path, self.shape, self.chunk, self.dtype = "memory", shape, chunk, np.dtype("int32")
        self.pixels = np.arange(np.prod(shape), dtype="int32").reshape(shape)
        self.boxes: list[Box] = []

    def read(self, box: Box) -> np.ndarray:
        self.boxes.append(box)
        return self.pixels[box.slices].copy()


@st.composite
def boxes(draw: st.DrawFn, shape: tuple[int, ...]) -> Box:
    start = tuple(draw(st.integers(0, n - 1)) for n in shape)
    return Box(start, tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_sequence_of_reads_gives_the_pixels(data):
    ndim = data.draw(st.integers(1, 3))
    shape = tuple(data.draw(st.integers(1, 12)) for _ in range(ndim))
    array = Pixels(shape, tuple(data.draw(st.integers(1, 5)) for _ in range(ndim)))
    cache = ChunkCache(data.draw(st.sampled_from([0, 200, 10_000])))
    for _ in range(4):
        box = data.draw(boxes(shape))
        keep_outside = data.draw(st.none() | boxes(shape))
        before = len(array.boxes)
        pixels, count = read_through(array, box, cache, keep_outside)
        np.testing.assert_array_equal(pixels, array.pixels[box.slices])
        assert count == ReadCount(sum(b.size for b in array.boxes[before:]) * 4, box.size * 4)
        assert cache.nbytes <= cache.max_bytes


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=12, max_size=12))
def test_rectangles_cover_each_missing_cell_once(cells):
    missing = np.array(cells).reshape(3, 4)
    covered = np.zeros((3, 4), int)
    for box in rectangles(missing):
        covered[box.slices] += 1
    np.testing.assert_array_equal(covered, missing.astype(int))


def test_nothing_cached_is_one_read_and_a_repeat_is_none():
    array, cache = Pixels((10, 10), (4, 4)), ChunkCache(10_000)
    box = Box((1, 1), (9, 10))
    read_through(array, box, cache)
    assert array.boxes == [Box((0, 0), (10, 10))]
    assert read_through(array, box, cache)[1] == ReadCount(0, box.size * 4)
    assert len(array.boxes) == 1


def test_chunks_wholly_inside_keep_outside_are_not_kept():
    array, cache = Pixels((12, 12), (4, 4)), ChunkCache(10_000)
    everything = Box.of_shape((12, 12))
    read_through(array, everything, cache, Box((4, 4), (8, 8)))
    _, count = read_through(array, everything, cache)
    assert array.boxes[1:] == [Box((4, 4), (8, 8))]
    assert count.decoded_bytes == 4 * 4 * 4


def test_the_least_recently_used_chunk_makes_room():
    cache = ChunkCache(2 * 16)
    chunk = np.zeros(16, np.uint8)
    cache.put(("a", (0,)), chunk)
    cache.put(("a", (1,)), chunk)
    assert cache.get(("a", (0,))) is not None
    cache.put(("a", (2,)), chunk)
    assert cache.get(("a", (1,))) is None
    assert cache.get(("a", (0,))) is not None
    cache.put(("a", (3,)), np.zeros(33, np.uint8))
    assert cache.get(("a", (3,))) is None
    assert cache.nbytes == 32
    with pytest.raises(ValueError, match="-1"):
        ChunkCache(-1)


def test_threads_share_a_cache():
    array, cache = Pixels((40, 40), (4, 4)), ChunkCache(1000)

    def read(start: int) -> bool:
        box = Box((start, start), (start + 20, start + 20))
        return bool((read_through(array, box, cache)[0] == array.pixels[box.slices]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, list(range(20)) * 10))
    assert cache.nbytes <= cache.max_bytes

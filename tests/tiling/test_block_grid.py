from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unet_batch.tiling import BlockGrid, Box


@st.composite
def block_grids(draw):
    ndim = draw(st.integers(1, 3))
    return BlockGrid(*(tuple(draw(st.integers(1, n)) for _ in range(ndim)) for n in (25, 9)))


@given(block_grids())
def test_blocks_cover_every_pixel_once(grid):
    seen = np.zeros(grid.shape, int)
    for block in grid:
        seen[block.box.slices] += 1
    assert (seen == 1).all()


@given(block_grids())
def test_numbers_indices_and_boxes_say_the_same(grid):
    everywhere = np.stack(np.unravel_index(np.arange(len(grid)), grid.counts), axis=1)
    assert [grid.index(number) for number in range(len(grid))] == [tuple(row) for row in everywhere]
    assert [grid.number(row) for row in everywhere] == list(range(len(grid)))
    assert list(grid.numbers(everywhere)) == list(range(len(grid)))
    assert [block.index for block in grid] == [grid.index(number) for number in range(len(grid))]
    assert [grid.box(index) for index in everywhere] == [grid.box(number) for number in range(len(grid))]


def test_places_outside_are_refused():
    grid = BlockGrid((5, 10), (2, 4))
    for place in (lambda: grid.at(9), lambda: grid.index(-1), lambda: grid.box(9)):
        with pytest.raises(IndexError, match="of 9"):
            place()
    for index in ((3, 0), (0, -1)):
        with pytest.raises(IndexError, match="of \\(3, 3\\)"):
            grid.number(index)


@given(block_grids(), st.data())
def test_numbers_in_a_region_are_the_blocks_that_touch_it(grid, data):
    start = tuple(data.draw(st.integers(-3, n + 3)) for n in grid.shape)
    region = Box(start, tuple(a + data.draw(st.integers(0, 9)) for a in start))
    touching = [n for n in range(len(grid)) if grid.box(n).intersect(region).size]
    assert list(grid.numbers_in(region)) == touching
    assert grid.indices_in(region).size == len(touching)


@given(block_grids(), st.data())
def test_pieces_are_what_blocks_have_of_a_region(grid, data):
    start = tuple(data.draw(st.integers(-3, n + 3)) for n in grid.shape)
    region = Box(start, tuple(a + data.draw(st.integers(0, 9)) for a in start))
    assert list(grid.pieces(region)) == [grid.box(n).intersect(region) for n in grid.numbers_in(region)]


@given(block_grids(), st.integers(1, 30))
def test_spaced_blocks_are_evenly_spaced_and_reach_from_the_first_to_the_last(grid, count):
    found = [int(number) for box in grid.spaced(count) for number in grid.numbers_in(box)]
    assert len(found) == min(count, len(grid))
    assert found[0] == 0
    if count > 1:
        assert found[-1] == len(grid) - 1
    assert len(set(np.diff(found))) <= 2


@given(block_grids())
def test_z_order_visits_every_block_once(grid):
    numbers = np.arange(len(grid))
    assert sorted(grid.z_order(numbers)) == list(numbers)


def test_z_order_keeps_neighbours_together():
    grid = BlockGrid((64, 64), (1, 1))
    visited = [grid.index(int(n)) for n in grid.z_order(np.arange(len(grid)))]
    jumps = [abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in pairwise(visited)]
    assert visited[:4] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert np.mean(jumps) < 2.5  # raster order in a band as high: 64 rows away


@given(block_grids(), st.data())
def test_pixels_are_those_of_the_chosen_blocks(grid, data):
    chosen = np.array([data.draw(st.booleans()) for _ in range(len(grid))]).reshape(grid.counts)
    assert grid.pixels(chosen) == sum(block.box.size for block in grid if chosen[block.index])


@pytest.mark.parametrize(
    ("shape", "block", "message"),
    [((0,), (4,), "at least one pixel"), ((4,), (0,), "at least one pixel"), ((4,), (4, 4), "one entry")],
)
def test_impossible_grids_are_refused(shape, block, message):
    with pytest.raises(ValueError, match=message):
        BlockGrid(shape, block)

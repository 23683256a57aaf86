from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import ArraySource
from unet_batch.tiling import Box, Grid, border
from unet_batch.tiling.blend import weights


@st.composite
def grids(draw, overlap=False):
    ndim = draw(st.integers(1, 3))
    per_axis = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(ndim))  # noqa: E731
    multiple = (draw(st.sampled_from([1, 2, 4])),) * ndim
    tile = tuple(m * t for m, t in zip(multiple, per_axis(1, 4), strict=True))
    step = (
        tuple(m * draw(st.integers(1, t // m)) for m, t in zip(multiple, tile, strict=True))
        if overlap
        else tile
    )
    block = tuple(m * b for m, b in zip(multiple, per_axis(1, 6), strict=True))
    return Grid(per_axis(1, 25), block, tile, step, per_axis(0, 6), per_axis(0, 6), multiple)


def through_identity_network(grid: Grid, pixels: np.ndarray) -> np.ndarray:
    """Every block by itself: read, cut tiles, weigh, add, divide. The master law's reference."""
    source, result = ArraySource(pixels), np.full(pixels.shape, np.nan)
    for block in grid:
        read_box = grid.read_box(block.box)
        hull = border.read(source, read_box)
        total, weight = np.zeros((pixels.shape[0], *block.box.shape)), np.zeros(block.box.shape)
        for tile in grid.tiles(block.box):
            seen = hull[(slice(None), *tile.read.relative_to(read_box.start).slices)]
            answer = seen[(slice(None), *tile.write.relative_to(tile.read.start).slices)]
            common = tile.write.intersect(block.box)
            share = weights(grid.tile, grid.step)[common.relative_to(tile.write.start).slices]
            at = common.relative_to(block.box.start).slices
            total[(slice(None), *at)] += (
                share * answer[(slice(None), *common.relative_to(tile.write.start).slices)]
            )
            weight[at] += share
        assert np.isnan(result[(slice(None), *block.box.slices)]).all(), "two blocks share a pixel"
        result[(slice(None), *block.box.slices)] = total / weight
    return result


@given(grids() | grids(overlap=True))
def test_identity_network_returns_its_input(grid):
    pixels = np.random.default_rng(1).integers(0, 255, (2, *grid.shape)).astype(np.float64)
    np.testing.assert_allclose(through_identity_network(grid, pixels), pixels, rtol=1e-6)


@given(grids(overlap=True))
def test_tiles_do_not_depend_on_the_block(grid):
    whole = {tile.write.start for tile in grid.tiles(Box.of_shape(grid.shape))}
    by_block = {tile.write.start for block in grid for tile in grid.tiles(block.box)}
    assert by_block == whole


@given(grids(overlap=True))
def test_all_tiles_have_one_shape_and_one_phase(grid):
    tiles = grid.tiles(Box.of_shape(grid.shape))
    assert {tile.read.shape for tile in tiles} == {
        tuple(b + t + a for b, t, a in zip(grid.before, grid.tile, grid.after, strict=True))
    }
    assert all(s % m == 0 for tile in tiles for s, m in zip(tile.write.start, grid.multiple, strict=True))


@given(grids())
def test_z_order_visits_every_block_once(grid):
    numbers = np.arange(len(grid))
    assert sorted(grid.z_order(numbers)) == list(numbers)


def test_z_order_keeps_neighbours_together():
    grid = Grid((64, 64), (1, 1), (1, 1), (1, 1), (0, 0), (0, 0), (1, 1))
    visited = [grid.at(int(n)).index for n in grid.z_order(np.arange(len(grid)))]
    jumps = [abs(a[0] - b[0]) + abs(a[1] - b[1]) for a, b in pairwise(visited)]
    assert visited[:4] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert np.mean(jumps) < 2.5  # raster order in a band as high: 64 rows away


@given(grids(), st.data())
def test_numbers_in_a_region_are_the_blocks_that_touch_it(grid, data):
    start = tuple(data.draw(st.integers(-3, n + 3)) for n in grid.shape)
    region = Box(start, tuple(a + data.draw(st.integers(0, 9)) for a in start))
    touching = [n for n in range(len(grid)) if grid.at(n).box.intersect(region).size]
    assert list(grid.numbers_in(region)) == touching


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tile": (6,)}, "multiple of"),
        ({"step": (16,)}, "would leave gaps"),
        ({"shape": (0,)}, "at least one pixel"),
        ({"before": (-1,)}, "negative"),
        ({"after": (1, 1)}, "one entry per axis"),
    ],
)
def test_impossible_grids_are_refused(change, message):
    good = {"shape": (30,), "block": (16,), "tile": (8,), "step": (8,), "multiple": (4,)}
    good |= {"before": (2,), "after": (2,)}
    Grid(**good)
    with pytest.raises(ValueError, match=message):
        Grid(**{**good, **change})


def test_the_papers_tile():
    """572 -> 388, step 384: 92 px read ahead, 96 behind (4 px belong to the next tile)."""
    grid = Grid((512, 512), (384, 384), (384, 384), (384, 384), (92, 92), (96, 96), (16, 16))
    assert {tile.read.shape for tile in grid.tiles(Box.of_shape(grid.shape))} == {(572, 572)}
    assert grid.read_box(grid.at(3).box) == Box((292, 292), (864, 864))

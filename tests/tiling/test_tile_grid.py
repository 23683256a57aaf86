import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fakes import ArraySource
from unet_batch.tiling import BlockGrid, Box, TileGrid, border
from unet_batch.tiling.blend import weights


@st.composite
def grids(draw, overlap=False):
    """Blocks and tiles of one image."""
    ndim = draw(st.integers(1, 3))
    per_axis = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(ndim))  # noqa: E731
    multiple = (draw(st.sampled_from([1, 2, 4])),) * ndim
    tile = tuple(m * t for m, t in zip(multiple, per_axis(1, 4), strict=True))
    step = (
        tuple(m * draw(st.integers(1, t // m)) for m, t in zip(multiple, tile, strict=True))
        if overlap
        else tile
    )
    tiles = TileGrid(per_axis(1, 25), tile, step, per_axis(0, 6), per_axis(0, 6), multiple)
    return BlockGrid(tiles.shape, per_axis(1, 24)), tiles


@st.composite
def grids_and_regions(draw):
    blocks, tiles = draw(grids(overlap=True))
    start = tuple(draw(st.integers(-3, n + 3)) for n in tiles.shape)
    return blocks, tiles, Box(start, tuple(a + draw(st.integers(0, 12)) for a in start))


def through_identity_network(blocks: BlockGrid, tiles: TileGrid, pixels: np.ndarray) -> np.ndarray:
    """Every block by itself: read, cut tiles, weigh, add, divide. The master law's reference."""
    source, result = ArraySource(pixels), np.full(pixels.shape, np.nan)
    for block in blocks:
        read_box = tiles.read_box(block.box)
        hull = border.read(source, read_box)
        total, weight = np.zeros((pixels.shape[0], *block.box.shape)), np.zeros(block.box.shape)
        for tile in tiles.tiles(block.box):
            seen = hull[(slice(None), *tile.read.relative_to(read_box.start).slices)]
            answer = seen[(slice(None), *tile.write.relative_to(tile.read.start).slices)]
            common = tile.write.intersect(block.box)
            share = weights(tiles.tile, tiles.step)[common.relative_to(tile.write.start).slices]
            at = common.relative_to(block.box.start).slices
            total[(slice(None), *at)] += (
                share * answer[(slice(None), *common.relative_to(tile.write.start).slices)]
            )
            weight[at] += share
        assert np.isnan(result[(slice(None), *block.box.slices)]).all(), "two blocks share a pixel"
        result[(slice(None), *block.box.slices)] = total / weight
    return result


@given(grids() | grids(overlap=True))
def test_identity_network_returns_its_input(grids):
    pixels = np.random.default_rng(1).integers(0, 255, (2, *grids[0].shape)).astype(np.float64)
    np.testing.assert_allclose(through_identity_network(*grids, pixels), pixels, rtol=1e-6)


@given(grids(overlap=True))
def test_tiles_do_not_depend_on_the_block(grids):
    blocks, tiles = grids
    whole = {tile.write.start for tile in tiles.tiles(Box.of_shape(tiles.shape))}
    by_block = {tile.write.start for block in blocks for tile in tiles.tiles(block.box)}
    assert by_block == whole


@given(grids_and_regions())
def test_a_region_takes_every_tile_that_writes_into_it(drawn):
    _, tiles, region = drawn
    inside = region.intersect(Box.of_shape(tiles.shape))
    writing = [t for t in tiles.tiles(Box.of_shape(tiles.shape)) if t.write.intersect(inside).size]
    assert tiles.tiles(region) == writing
    if writing:
        assert all(tiles.read_box(region).contains(tile.read) for tile in writing)


@given(grids_and_regions())
def test_counted_tiles_are_those_of_every_block_that_the_region_touches(drawn):
    blocks, tiles, region = drawn
    counted = sum(len(tiles.tiles(blocks.box(number))) for number in blocks.numbers_in(region))
    assert tiles.count(blocks, region) == counted


@given(grids(overlap=True))
def test_all_tiles_have_one_shape_and_one_phase(grids):
    _, grid = grids
    tiles = grid.tiles(Box.of_shape(grid.shape))
    assert {tile.read.shape for tile in tiles} == {grid.input_shape}
    assert all(s % m == 0 for tile in tiles for s, m in zip(tile.write.start, grid.multiple, strict=True))


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
    good = {"shape": (30,), "tile": (8,), "step": (8,), "multiple": (4,), "before": (2,), "after": (2,)}
    TileGrid(**good)
    with pytest.raises(ValueError, match=message):
        TileGrid(**{**good, **change})


def test_the_papers_tile():
    """572 -> 388, step 384: 92 px read ahead, 96 behind (4 px belong to the next tile)."""
    tiles = TileGrid((512, 512), (384, 384), (384, 384), (92, 92), (96, 96), (16, 16))
    assert tiles.input_shape == (572, 572)
    assert tiles.read_box(BlockGrid((512, 512), (384, 384)).box(3)) == Box((292, 292), (864, 864))

"""Plain integers and numpy, N-D: which pixels belong to which block and tile. Knows no Zarr and no torch."""

from unet_batch.tiling.block_grid import Block, BlockGrid
from unet_batch.tiling.box import Box
from unet_batch.tiling.rounding import ceil_div, round_down, round_up
from unet_batch.tiling.tile_grid import Tile, TileGrid

__all__ = ["Block", "BlockGrid", "Box", "Tile", "TileGrid", "ceil_div", "round_down", "round_up"]

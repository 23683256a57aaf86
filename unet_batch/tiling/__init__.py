"""Plain integers and numpy, N-D: which pixels belong to which block and tile. Knows no Zarr and no torch."""

from unet_batch.tiling.box import Box
from unet_batch.tiling.grid import Block, Grid, Tile

__all__ = ["Block", "Box", "Grid", "Tile"]

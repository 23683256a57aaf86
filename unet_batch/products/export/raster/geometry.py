"""Geometry: where the tiles of a pyramid of TIFF pages lie, and which block makes which. Plain integers."""

from dataclasses import dataclass
from math import prod

from unet_batch.tiling import BlockGrid, Box, ceil_div


@dataclass(frozen=True, slots=True)
class Geometry:
    """Pages of tiles at every level of a pyramid.

    A block makes its tiles at ``span`` levels, until a block is one tile; the levels above are made by
    blocks of their own, a group of levels after the other.

    Args:
        shape: height and width of level 0.
        planes: number of planes.
        samples: pages of one plane, one for each channel that is kept apart.
        tile: extent of a tile.
        span: levels of a group.
    """

    shape: tuple[int, int]
    planes: int
    samples: int
    tile: int
    span: int

    @property
    def levels(self) -> int:
        """Levels until one tile holds all."""
        count = 1
        while max(self.shape_at(count - 1)) > self.tile:
            count += 1
        return count

    @property
    def groups(self) -> int:
        """How many groups of levels there are."""
        return ceil_div(self.levels, self.span)

    @property
    def block(self) -> int:
        """Extent of a block in pixels of the finest level of its group."""
        return self.tile << (self.span - 1)

    def shape_at(self, level: int) -> tuple[int, int]:
        """Height and width of a level."""
        height, width = self.shape
        return ceil_div(height, 1 << level), ceil_div(width, 1 << level)

    def tiles_at(self, level: int) -> tuple[int, ...]:
        """Rows and columns of tiles of a level."""
        return BlockGrid(self.shape_at(level), (self.tile, self.tile)).counts

    def shares(self, level: int) -> BlockGrid:
        """The tiles of a level (rows, columns), cut into what each block of its group makes of one plane."""
        side = 1 << (self.span - 1 - level % self.span)
        return BlockGrid(self.tiles_at(level), (side, side))

    @property
    def tiles(self) -> int:
        """Tiles in all pages."""
        pages = self.planes * self.samples
        return pages * sum(prod(self.tiles_at(level)) for level in range(self.levels))

    def levels_of(self, group: int) -> range:
        """The levels of a group."""
        return range(group * self.span, min((group + 1) * self.span, self.levels))

    def grid(self, group: int) -> BlockGrid:
        """The blocks of a group, in pixels of its finest level; axes plane, y, x."""
        return BlockGrid((self.planes, *self.shape_at(group * self.span)), (1, self.block, self.block))

    def carried(self, group: int) -> BlockGrid:
        """What the blocks of the group before leave of the finest level of ``group``; axes plane, y, x."""
        extent = self.block >> self.span
        return BlockGrid((self.planes, *self.shape_at(group * self.span)), (1, extent, extent))

    def box_at(self, box: Box, level: int) -> Box:
        """A block's ``box`` of the finest level of its group (y, x), in pixels of ``level``."""
        factor = 1 << (level % self.span)
        return box.scale_down((factor, factor))

"""Geometry: where the tiles of a pyramid of TIFF pages lie, and which block makes which. Plain integers."""

from dataclasses import dataclass
from math import prod

from unet_batch.tiling import BlockGrid, Box


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
        return -(-self.levels // self.span)

    @property
    def block(self) -> int:
        """Extent of a block in pixels of the finest level of its group."""
        return self.tile << (self.span - 1)

    def shape_at(self, level: int) -> tuple[int, int]:
        """Height and width of a level."""
        height, width = self.shape
        return -(-height >> level), -(-width >> level)

    def tiles_at(self, level: int) -> tuple[int, int]:
        """Rows and columns of tiles of a level."""
        height, width = self.shape_at(level)
        return -(-height // self.tile), -(-width // self.tile)

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
        block = (1, self.block, self.block)
        shape = (self.planes, *self.shape_at(group * self.span))
        return BlockGrid(shape, block)

    def box_at(self, box: Box, level: int) -> Box:
        """A block's ``box`` of the finest level of its group (y, x), in pixels of ``level``."""
        factor = 1 << (level % self.span)
        return box.scale_down((factor, factor))

    def per_block(self, level: int) -> int:
        """Tiles along one side of a block at ``level``."""
        return 1 << (self.span - 1 - level % self.span)

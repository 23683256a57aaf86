"""TileGrid: the network inputs that an image is predicted with.

Tiles lie at multiples of ``step`` from the image's origin, whatever region is asked for: a region takes every
tile that writes into it. One axis of 38 pixels, tile = step = 8 (no overlap), before = after = 3::

    image        |0.............................37|~~~~~~~ past the border, filled in
    tiles        |0.....|8......|16.....|24.....|32.....|
    one read   ~~~|8......|~~~  (before + tile + after)

So results do not depend on how an image is cut into blocks; and where ``step`` is a multiple of the network's
``multiple`` (2^depth), every tile sees the same pooling phase as one untiled pass.

>>> tiles = TileGrid(shape=(38,), tile=(8,), step=(8,), before=(3,), after=(3,), multiple=(4,))
>>> tiles.input_shape
(14,)
>>> [tile.write.start for tile in tiles.tiles(Box((16,), (33,)))]
[(16,), (24,), (32,)]
>>> tiles.read_box(Box((16,), (33,)))
Box(start=(13,), stop=(43,))
"""

from dataclasses import dataclass
from itertools import product

from unet_batch.tiling.block_grid import BlockGrid
from unet_batch.tiling.box import Box
from unet_batch.tiling.rounding import ceil_div


@dataclass(frozen=True, slots=True)
class Tile:
    """One network input: ``read`` is what it sees, ``write`` what it answers for. Both may pass the image."""

    write: Box
    read: Box


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Tiles over an image of ``shape``; all tuples have one entry per axis, in pixels.

    Args:
        shape: the image, without its channel axis.
        tile: extent that one tile answers for.
        step: distance between tiles; equal to ``tile`` unless tiles overlap to be blended.
        before: pixels a tile reads ahead of what it writes.
        after: pixels a tile reads behind what it writes.
        multiple: tiles and steps are multiples of this, as the network is equivariant to no other shift.

    Raises:
        ValueError: extents that do not fit together.
    """

    shape: tuple[int, ...]
    tile: tuple[int, ...]
    step: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    multiple: tuple[int, ...]

    def __post_init__(self) -> None:
        fields = (self.shape, self.tile, self.step, self.before, self.after, self.multiple)
        if len({len(field) for field in fields}) != 1:
            raise ValueError("shape, tile, step, before, after and multiple need one entry per axis")
        if min(*self.shape, *self.tile, *self.step, *self.multiple) < 1:
            raise ValueError("an image, tile, step and multiple are at least one pixel on every axis")
        if min(*self.before, *self.after) < 0:
            raise ValueError("the margin of a tile cannot be negative")
        for name, values in (("tile", self.tile), ("step", self.step)):
            if any(value % m for value, m in zip(values, self.multiple, strict=True)):
                raise ValueError(f"{name} {values} must be a multiple of {self.multiple} on every axis")
        if any(step > tile for step, tile in zip(self.step, self.tile, strict=True)):
            raise ValueError(f"step {self.step} is larger than the tile {self.tile} and would leave gaps")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Pixels that one tile reads on every axis."""
        return tuple(sum(sides) for sides in zip(self.before, self.tile, self.after, strict=True))

    def starts(self, axis: int, start: int, stop: int) -> range:
        """Where tiles begin that write into the pixels ``start`` to ``stop``, inside the image, of ``axis``.

        >>> TileGrid((38,), (8,), (4,), (0,), (0,), (4,)).starts(0, 9, 10)
        range(4, 9, 4)
        """
        size, tile, step = self.shape[axis], self.tile[axis], self.step[axis]
        first = max(0, ceil_div(start - tile + 1, step))
        last_of_image = max(0, ceil_div(size - tile, step))
        last = min((stop - 1) // step, last_of_image)
        return range(first * step, last * step + 1, step)

    def tiles(self, region: Box) -> list[Tile]:
        """Every tile that writes into ``region``, in raster order."""
        inside = region.intersect(Box.of_shape(self.shape))
        if inside.size == 0:
            return []
        axes = zip(range(inside.ndim), inside.start, inside.stop, strict=True)
        return [self._tile(start) for start in product(*(self.starts(*axis) for axis in axes))]

    def count(self, blocks: BlockGrid, region: Box) -> int:
        """How many tiles the blocks take that ``region`` touches; a tile of two blocks counts twice.

        Takes no longer for many tiles.

        >>> tiles = TileGrid((38,), (8,), (8,), (3,), (3,), (4,))
        >>> tiles.count(BlockGrid((38,), (12,)), Box((0,), (20,)))
        4
        """
        total, touched = 1, blocks.indices_in(region)
        for axis, (first, last) in enumerate(zip(touched.start, touched.stop, strict=True)):
            block, size = blocks.block[axis], self.shape[axis]
            edges = ((i * block, min((i + 1) * block, size)) for i in range(first, last))
            total *= sum(len(self.starts(axis, start, stop)) for start, stop in edges)
        return total

    def read_box(self, region: Box) -> Box:
        """The hull of what all tiles of ``region`` read; passes the image where margins do.

        Raises:
            IndexError: the region misses the image.
        """
        tiles = self.tiles(region)
        return Box(tiles[0].read.start, tiles[-1].read.stop)

    def _tile(self, start: tuple[int, ...]) -> Tile:
        write = Box(start, tuple(a + t for a, t in zip(start, self.tile, strict=True)))
        return Tile(write, write.grow(self.before, self.after))

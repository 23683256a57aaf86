"""Grid: how an image is cut into blocks (scheduled, written, resumed) and tiles (network inputs).

One axis, tile = 8, step = 8 (crop), before = after = 3, block = 16::

    image        |0.............................37|~~~~~~~ mirrored
    blocks       |0.............15|16...........31|32...37|
    tiles        |0.....|8......|16.....|24.....|32.....|
    one read  ...~~~|8......|~~~  (before + tile + after)

Tiles lie at multiples of ``step`` from the image's origin, whatever the block; a block computes every tile
that touches it. So results do not depend on the block, and where step is a multiple of the network's
``multiple`` (2^depth) every tile sees the same pooling phase as one untiled pass.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from unet_batch.tiling.box import Box


@dataclass(frozen=True, slots=True)
class Block:
    """The unit of scheduling, writing and resuming: ``box`` is one output shard, clipped to the image."""

    index: tuple[int, ...]
    box: Box


@dataclass(frozen=True, slots=True)
class Tile:
    """One network input: ``read`` is what it sees, ``write`` what it answers for. Both may pass the image."""

    write: Box
    read: Box


@dataclass(frozen=True, slots=True)
class Grid:
    """An image of ``shape`` cut into blocks and tiles; all tuples have one entry per axis, in pixels.

    Args:
        shape: the image, without its channel axis.
        block: extent of a block.
        tile: extent that one tile answers for.
        step: distance between tiles; equal to ``tile`` unless tiles overlap to be blended.
        before: pixels a tile reads ahead of what it writes.
        after: pixels a tile reads behind what it writes.
        multiple: steps must be multiples of this, as the network is equivariant to no other shift.
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]
    tile: tuple[int, ...]
    step: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    multiple: tuple[int, ...]

    def __post_init__(self) -> None:
        fields = (self.shape, self.block, self.tile, self.step, self.before, self.after, self.multiple)
        if len({len(field) for field in fields}) != 1:
            raise ValueError("shape, block, tile, step, before, after and multiple need one entry per axis")
        if min(*self.shape, *self.block, *self.tile, *self.step, *self.multiple) < 1:
            raise ValueError("an image, block, tile, step and multiple are at least one pixel on every axis")
        if min(*self.before, *self.after) < 0:
            raise ValueError("the margin of a tile cannot be negative")
        for name, values in (("block", self.block), ("tile", self.tile), ("step", self.step)):
            if any(value % m for value, m in zip(values, self.multiple, strict=True)):
                raise ValueError(f"{name} {values} must be a multiple of {self.multiple} on every axis")
        if any(step > tile for step, tile in zip(self.step, self.tile, strict=True)):
            raise ValueError(f"step {self.step} is larger than the tile {self.tile} and would leave gaps")

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of blocks along every axis."""
        return tuple(-(-n // b) for n, b in zip(self.shape, self.block, strict=True))

    def __len__(self) -> int:
        return prod(self.counts)

    def at(self, number: int) -> Block:
        """The block with a raster ``number`` (last axis fastest)."""
        counts = self.counts
        if not 0 <= number < prod(counts):
            raise IndexError(f"block {number} of {prod(counts)}")
        index, rest = [], number
        for count in reversed(counts):  # unravel_index takes ten times as long for one number
            rest, place = divmod(rest, count)
            index.append(place)
        index.reverse()
        start = tuple(i * b for i, b in zip(index, self.block, strict=True))
        stop = tuple(min(a + b, n) for a, b, n in zip(start, self.block, self.shape, strict=True))
        return Block(tuple(index), Box(start, stop))

    def numbers_in(self, region: Box) -> NDArray[np.int64]:
        """Raster numbers, in raster order, of the blocks that ``region`` touches."""
        touched = region.intersect(Box.of_shape(self.shape)).scale_down(self.block)
        if region.intersect(Box.of_shape(self.shape)).size == 0:
            return np.empty(0, np.int64)
        axes = [np.arange(a, b, dtype=np.int64) for a, b in zip(touched.start, touched.stop, strict=True)]
        return np.ravel_multi_index(np.meshgrid(*axes, indexing="ij"), self.counts).ravel().astype(np.int64)

    def z_order(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """``numbers`` along the Z-order (Morton) curve: blocks next in turn share margins and chunks."""
        index = np.unravel_index(numbers, self.counts)
        code = np.zeros(numbers.shape, np.uint64)
        ndim = len(self.counts)
        for bit in range(max(int(n - 1).bit_length() for n in self.counts)):
            for axis in range(ndim):
                part = (index[ndim - 1 - axis].astype(np.uint64) >> np.uint64(bit)) & np.uint64(1)
                code |= part << np.uint64(bit * ndim + axis)
        return numbers[np.argsort(code, kind="stable")]

    def tiles(self, region: Box) -> list[Tile]:
        """Every tile that writes into ``region``, in raster order."""
        inside = region.intersect(Box.of_shape(self.shape))
        if inside.size == 0:
            return []
        ranges = [self._starts(axis, inside) for axis in range(len(self.shape))]
        return [self._tile(start) for start in product(*ranges)]

    def read_box(self, region: Box) -> Box:
        """The hull of what all tiles of ``region`` read; passes the image where margins do."""
        tiles = self.tiles(region)
        return Box(tiles[0].read.start, tiles[-1].read.stop)

    def _tile(self, start: tuple[int, ...]) -> Tile:
        write = Box(start, tuple(a + t for a, t in zip(start, self.tile, strict=True)))
        return Tile(write, write.grow(self.before, self.after))

    def _starts(self, axis: int, inside: Box) -> range:
        size, tile, step = self.shape[axis], self.tile[axis], self.step[axis]
        first = max(0, -(-(inside.start[axis] - tile + 1) // step))
        last_of_image = max(0, -(-(size - tile) // step))
        last = min((inside.stop[axis] - 1) // step, last_of_image)
        return range(first * step, last * step + 1, step)

    def __iter__(self) -> Iterator[Block]:
        return (self.at(number) for number in range(len(self)))

"""BlockGrid: how an image is cut into the blocks that are scheduled, written and resumed.

Blocks tile the image from its origin; the last ones of every axis are clipped to the image. A block has an
index (its place on every axis) and a number (raster order, last axis fastest). An image of 5 x 10 pixels in
blocks of 2 x 4::

              0.......4.......8...10
            0 |   0   |   1   | 2 |        number 5
            2 |   3   |   4   | 5 |        index  (1, 2)
            4 |   6   |   7   | 8 |        box    rows 2 and 3, columns 8 and 9
            5 +-------+-------+---+

>>> blocks = BlockGrid(shape=(5, 10), block=(2, 4))
>>> blocks.counts, len(blocks)
((3, 3), 9)
>>> blocks.index(5), blocks.number((1, 2)), blocks.box(5)
((1, 2), 5, Box(start=(2, 8), stop=(4, 10)))
>>> blocks.numbers_in(Box((1, 5), (3, 9))).tolist()
[1, 2, 4, 5]
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from unet_batch.tiling.box import Box
from unet_batch.tiling.rounding import ceil_div

Place = int | np.integer | Sequence[int] | NDArray[np.integer]
"""A block's number, or its index."""


@dataclass(frozen=True, slots=True)
class Block:
    """The unit of scheduling, writing and resuming: its place in the grid, and its pixels."""

    index: tuple[int, ...]
    box: Box


@dataclass(frozen=True, slots=True)
class BlockGrid:
    """An image of ``shape`` cut into blocks of ``block`` pixels, clipped to the image.

    Args:
        shape: pixels of the image on every axis, without its channel axis.
        block: pixels of a block on every axis.

    Raises:
        ValueError: the two do not have one entry, at least 1, for each axis.
    """

    shape: tuple[int, ...]
    block: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.shape) != len(self.block):
            raise ValueError(f"shape {self.shape} and block {self.block} need one entry per axis")
        if min(*self.shape, *self.block) < 1:
            raise ValueError("an image and a block are at least one pixel on every axis")

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of blocks along every axis."""
        return tuple(ceil_div(n, b) for n, b in zip(self.shape, self.block, strict=True))

    def __len__(self) -> int:
        return prod(self.counts)

    def __iter__(self) -> Iterator[Block]:
        return (self.at(number) for number in range(len(self)))

    def index(self, number: int) -> tuple[int, ...]:
        """Place on every axis of the block ``number``.

        Raises:
            IndexError: there is no such block.
        """
        counts = self.counts
        if not 0 <= number < prod(counts):
            raise IndexError(f"block {number} of {prod(counts)}")
        index, rest = [], number
        for count in reversed(counts):  # unravel_index takes ten times as long for one number
            rest, place = divmod(rest, count)
            index.append(place)
        return tuple(reversed(index))

    def number(self, index: Sequence[int] | NDArray[np.integer]) -> int:
        """Number of the block at ``index``.

        Raises:
            IndexError: there is no such block.
        """
        number = 0
        for place, count in zip(index, self.counts, strict=True):
            if not 0 <= place < count:
                raise IndexError(f"block {tuple(index)} of {self.counts}")
            number = number * count + int(place)
        return number

    def numbers(self, indices: NDArray[np.integer]) -> NDArray[np.int64]:
        """Numbers of many blocks, from their indices (n, axes)."""
        return np.asarray(np.ravel_multi_index(tuple(indices.T), self.counts), np.int64)

    def box(self, place: Place) -> Box:
        """Pixels of the block with a number or index ``place``, clipped to the image.

        Raises:
            IndexError: there is no such number. An index past the grid gives an empty or inverted box.
        """
        index = self.index(int(place)) if isinstance(place, int | np.integer) else place
        start = tuple(int(i) * b for i, b in zip(index, self.block, strict=True))
        return Box(start, tuple(min(a + b, n) for a, b, n in zip(start, self.block, self.shape, strict=True)))

    def at(self, number: int) -> Block:
        """The block ``number``.

        Raises:
            IndexError: there is no such block.
        """
        index = self.index(number)
        return Block(index, self.box(index))

    def indices_in(self, region: Box) -> Box:
        """Box of the indices of the blocks that ``region`` touches; empty where it misses the image."""
        inside = region.intersect(Box.of_shape(self.shape))
        if inside.size == 0:
            return Box((0,) * len(self.shape), (0,) * len(self.shape))
        return inside.scale_down(self.block)

    def numbers_in(self, region: Box) -> NDArray[np.int64]:
        """Numbers, ascending, of the blocks that ``region`` touches."""
        touched = self.indices_in(region)
        axes = [np.arange(a, b, dtype=np.int64) for a, b in zip(touched.start, touched.stop, strict=True)]
        return np.ravel_multi_index(np.meshgrid(*axes, indexing="ij"), self.counts).ravel().astype(np.int64)

    def pieces(self, region: Box) -> Iterator[Box]:
        """What each block that ``region`` touches has of it, in raster order.

        >>> [piece.start for piece in BlockGrid((5, 10), (2, 4)).pieces(Box((1, 5), (3, 9)))]
        [(1, 5), (1, 8), (2, 5), (2, 8)]
        """
        return (self.box(index).intersect(region) for index in self.indices_in(region).positions())

    def spaced(self, count: int) -> Iterator[Box]:
        """At most ``count`` blocks, evenly spaced by number, the first and the last among them.

        >>> [box.start for box in BlockGrid((5, 10), (2, 4)).spaced(3)]
        [(0, 0), (2, 4), (4, 8)]
        """
        last, taken = len(self) - 1, min(count, len(self))
        for number in dict.fromkeys(i * last // max(1, taken - 1) for i in range(taken)):
            yield self.box(number)

    def z_order(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """``numbers`` along the Z-order (Morton) curve: consecutive blocks share margins and chunks."""
        index = np.unravel_index(numbers, self.counts)
        code = np.zeros(numbers.shape, np.uint64)
        ndim = len(self.counts)
        for bit in range(max(int(n - 1).bit_length() for n in self.counts)):
            for axis in range(ndim):
                part = (index[ndim - 1 - axis].astype(np.uint64) >> np.uint64(bit)) & np.uint64(1)
                code |= part << np.uint64(bit * ndim + axis)
        return numbers[np.argsort(code, kind="stable")]

    def pixels(self, chosen: NDArray[np.bool_]) -> int:
        """Pixels of all blocks where ``chosen``, an array of shape ``counts``, is True.

        >>> BlockGrid(shape=(5, 10), block=(2, 4)).pixels(np.ones((3, 3), np.bool_))
        50
        """
        total: NDArray[np.generic] = chosen
        for size, block, count in zip(self.shape, self.block, self.counts, strict=True):
            extents = np.minimum(block, size - block * np.arange(count, dtype=np.int64))
            total = np.tensordot(total, extents, axes=([0], [0]))
        return int(total)

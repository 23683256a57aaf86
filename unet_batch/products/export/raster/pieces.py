"""Pieces: where the tiles of a pyramid of TIFF pages lie, and the files of tiles that blocks leave."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.products.export.product import Count
from unet_batch.store.io_errors import written_whole
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


Lengths = NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Page:
    """One image of a TIFF: a level of one plane and sample, or the part ``tiles`` (in tiles) of it."""

    level: int
    plane: int
    sample: int
    tiles: Box


def piece_path(folder: Path, geometry: Geometry, group: int, number: int, suffix: str = "tiles") -> Path:
    """The file of a block of a group of levels."""
    return folder / f"level-{group * geometry.span}" / f"{number}.{suffix}"


def save_tiles(path: Path, tiles: Sequence[bytes | bytearray]) -> None:
    """Write a block's tiles: by level, sample, row and column."""
    with written_whole(path) as file:
        np.save(file, np.array([len(tile) for tile in tiles], np.uint32))
        file.writelines(tiles)


class Pieces:
    """The files of all blocks under ``folder``, as pages of tiles."""

    def __init__(self, folder: Path, geometry: Geometry, count: Count = lambda _done, _total: None) -> None:
        self.folder, self.geometry = folder, geometry
        self.count, self.given = count, 0
        self._header = lru_cache(maxsize=2**12)(_read_header)

    def page(self, level: int, plane: int = 0, sample: int = 0) -> Page:
        """A whole level."""
        return Page(level, plane, sample, Box((0, 0), self.geometry.tiles_at(level)))

    def lengths(self, page: Page) -> Lengths:
        """(rows, columns) bytes of each tile of a page."""
        found = np.zeros(page.tiles.shape, np.uint32)
        for number, inside in self._blocks(page):
            lengths = self._of_block(page, number)[1]
            whole = self._span(page, number)
            found[inside.relative_to(page.tiles.start).slices] = lengths[
                inside.relative_to(whole.start).slices
            ]
        return found

    def tiles(self, page: Page) -> Iterator[bytes]:
        """The tiles of a page, row by row; each row is counted."""
        box = page.tiles
        for row in range(box.start[0], box.stop[0]):
            self.given += box.shape[1]
            self.count(self.given, self.geometry.tiles)  # before: who takes tiles may stop at the last
            line = Page(page.level, page.plane, page.sample, Box((row, box.start[1]), (row + 1, box.stop[1])))
            for number, inside in self._blocks(line):
                start, lengths = self._of_block(line, number)
                part = inside.relative_to(self._span(page, number).start)
                (i, first), (_, last) = part.start, part.stop
                yield from _read(
                    self._path(page, number),
                    start + int(lengths[:i].sum()) + int(lengths[i, :first].sum()),
                    lengths[i, first:last],
                )

    def _blocks(self, page: Page) -> Iterator[tuple[int, Box]]:
        """Blocks that make tiles of a page, in raster order: number, and the tiles among the page's."""
        shares = self.geometry.shares(page.level)
        for number in map(int, shares.numbers_in(page.tiles)):
            yield page.plane * len(shares) + number, shares.box(number).intersect(page.tiles)

    def _span(self, page: Page, number: int) -> Box:
        """The tiles that a block makes of the page's level."""
        shares = self.geometry.shares(page.level)
        return shares.box(number % len(shares))

    def _path(self, page: Page, number: int) -> Path:
        return piece_path(self.folder, self.geometry, page.level // self.geometry.span, number)

    def _of_block(self, page: Page, number: int) -> tuple[int, Lengths]:
        """Where a block's tiles of the page's level and sample begin in its file; (rows, columns) bytes."""
        group = page.level // self.geometry.span
        begin, lengths = self._header(self._path(page, number))
        passed = 0
        for level in self.geometry.levels_of(group):
            shape = self._span(Page(level, page.plane, 0, page.tiles), number).shape
            count = shape[0] * shape[1]
            if level == page.level:
                passed += page.sample * count
                start = begin + int(lengths[:passed].sum())
                return start, lengths[passed : passed + count].reshape(shape)
            passed += self.geometry.samples * count
        raise AssertionError(f"level {page.level} is none of group {group}")


def _read_header(path: Path) -> tuple[int, Lengths]:
    with path.open("rb") as file:
        lengths = np.load(file)
        return file.tell(), lengths


def _read(path: Path, start: int, lengths: NDArray[Any]) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        for length in lengths:
            yield file.read(int(length))

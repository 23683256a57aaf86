"""Pieces: the encoded tiles of each block in a file, and all tiles of a page in order. Encodes nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.products.export.product import Count
from unet_batch.products.export.raster.geometry import Geometry
from unet_batch.products.export.whole import written_whole
from unet_batch.tiling import Box

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

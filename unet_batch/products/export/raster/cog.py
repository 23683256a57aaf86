"""COG: pieces as a cloud optimized GeoTIFF, in one pass, whatever its size.

All directories come first, then the overviews from the smallest on, then the image; tiles row by row, each
between its length and its last four bytes again. What GDAL makes of that:
https://gdal.org/drivers/raster/cog.html.
"""

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from unet_batch.products.export.raster.pieces import Page, Pieces
from unet_batch.products.export.raster.tiff import LONG, Format, Tag
from unet_batch.products.export.whole import written_whole
from unet_batch.tiling import round_up

_LAYOUT = (
    "LAYOUT=IFDS_BEFORE_DATA\n"
    "BLOCK_ORDER=ROW_MAJOR\n"
    "BLOCK_LEADER=SIZE_AS_UINT4\n"
    "BLOCK_TRAILER=LAST_4_BYTES_REPEATED\n"
    "KNOWN_INCOMPATIBLE_EDITION=NO\n "
)
_GHOST = f"GDAL_STRUCTURAL_METADATA_SIZE={len(_LAYOUT):06d} bytes\n{_LAYOUT}".encode()
_AROUND_TILE = 8
_CLASSIC_LIMIT = 2**32 - 2**16


def write_cog(
    path: Path,
    pieces: Pieces,
    pages: Sequence[Page],
    shapes: Sequence[tuple[int, int]],
    tags: tuple[Sequence[Tag], Sequence[Tag]],
    *,
    big: bool | None = None,
) -> None:
    """Write ``pages``, level 0 first, to ``path``.

    Args:
        path: the file; there only when it is whole.
        pieces: where the tiles are.
        pages: one for each level.
        shapes: height and width of each page in pixels.
        tags: of the first page alone, and of every page.
        big: BigTIFF; by default where classic TIFF is too small.
    """
    lengths = [pieces.lengths(page) for page in pages]
    size = sum(int(one.sum(dtype=np.uint64)) + _AROUND_TILE * one.size for one in lengths)
    tables = 16 * sum(one.size for one in lengths) + 2**16 * len(pages)
    layout = Format(big=size + tables > _CLASSIC_LIMIT if big is None else big)

    def directory(number: int, offsets: np.ndarray[tuple[int, ...], np.dtype[np.uint64]]) -> list[Tag]:
        own, every = tags
        (height, width), counts = shapes[number], lengths[number].reshape(-1)
        return [
            *(own if number == 0 else ()),
            *every,
            Tag(254, LONG, 1 if number else 0),
            Tag(256, LONG, width),
            Tag(257, LONG, height),
            Tag(324, layout.offset_kind, offsets),
            Tag(325, LONG, counts),
        ]

    first = round_up(layout.header_size + len(_GHOST), 8)
    empty = [np.zeros(one.size, np.uint64) for one in lengths]
    sizes = [layout.directory_size(directory(number, one)) for number, one in enumerate(empty)]
    places = np.cumsum([first, *sizes])
    offsets = _tile_offsets(lengths, int(places[-1]))
    with written_whole(path) as file:
        file.write((layout.header(first) + _GHOST).ljust(first, b"\0"))
        for number in range(len(pages)):
            following = int(places[number + 1]) if number + 1 < len(pages) else 0
            file.write(layout.directory(directory(number, offsets[number]), int(places[number]), following))
        for page in reversed(pages):
            for tile in pieces.tiles(page):
                file.write(struct.pack("<I", len(tile)) + tile + tile[-4:])


def _tile_offsets(
    lengths: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.uint32]]], begin: int
) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint64]]]:
    """Where the bytes of each page's tiles begin; the last page comes first."""
    found = []
    for one in reversed(lengths):
        ends = begin + np.cumsum(one.reshape(-1).astype(np.uint64) + np.uint64(_AROUND_TILE))
        found.append(ends - one.reshape(-1) - np.uint64(4))
        begin = int(ends[-1])
    return found[::-1]

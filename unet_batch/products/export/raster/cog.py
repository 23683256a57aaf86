"""COG: pieces as one cloud optimized GeoTIFF, or as a folder of them with a VRT that shows them as one.

A COG is written in one pass, whatever its size: all directories come first, then the overviews from the
smallest on, then the image; tiles row by row, each between its length and its last four bytes again. What
GDAL makes of that: https://gdal.org/drivers/raster/cog.html.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np

from unet_batch.products.export.raster.geotiff import (
    category_xml,
    colour_roles,
    has_table,
    image_tags,
    nodata,
    pixel_tags,
)
from unet_batch.products.export.raster.pieces import Geometry, Page, Pieces
from unet_batch.products.export.raster.tiff import LONG, Format, Tag
from unet_batch.products.export.view import Source
from unet_batch.store.io_errors import written_whole
from unet_batch.tiling import BlockGrid, Box, round_up

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


_GDAL_TYPES = {"uint8": "Byte", "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64", "int8": "Int8"}
_GDAL_TYPES |= {f"int{bits}": f"Int{bits}" for bits in (16, 32, 64)}
_GDAL_TYPES |= {f"float{bits}": f"Float{bits}" for bits in (32, 64)}
VRT = "mask.vrt"


@dataclass(frozen=True, slots=True)
class Part:
    """One file: its name and the pixels of level 0 that it holds."""

    name: str
    box: Box


def parts_of(geometry: Geometry, extent: int) -> Iterator[Part]:
    """The parts of ``extent`` pixels, row by row; ``extent`` is a power of two of tiles."""
    for block in BlockGrid(geometry.shape, (extent, extent)):
        row, column = block.index
        yield Part(f"{row:03d}_{column:03d}.tif", block.box)


def write_parts(folder: Path, pieces: Pieces, view: Source, extent: int, compression: str) -> None:
    """Write all parts, and the VRT last."""
    geometry, parts = pieces.geometry, list(parts_of(pieces.geometry, extent))
    every = pixel_tags(view, geometry.tile, compression)
    for part in parts:
        pages = list(_pages(geometry, part.box, extent))
        shapes = [_scaled(part.box, page.level).shape for page in pages]
        y, x = part.box.start
        georef = None if view.georef is None else view.georef.shifted(y, x)
        own = image_tags(view, georef)
        write_cog(folder / part.name, pieces, pages, [(h, w) for h, w in shapes], (own, every))
    with written_whole(folder / VRT) as file:
        file.write(vrt(view, parts).encode())


def vrt(view: Source, parts: list[Part]) -> str:
    """The VRT of parts that lie beside it."""
    height, width = view.shape
    place = ""
    if view.georef is not None:
        a, b, c, d, e, f = view.georef.transform
        numbers = ", ".join(map(repr, (c, a, b, f, d, e)))
        place = f"<SRS>{escape(view.georef.crs)}</SRS><GeoTransform>{numbers}</GeoTransform>"
    bands = "".join(_band(view, parts, band) for band in range(view.channels))
    return f'<VRTDataset rasterXSize="{width}" rasterYSize="{height}">{place}{bands}</VRTDataset>\n'


def _band(view: Source, parts: list[Part], band: int) -> str:
    roles = colour_roles(view)
    colours = f"<ColorInterp>{roles[band]}</ColorInterp>" if roles else ""
    if has_table(view):
        entries = "".join(f'<Entry c1="{r}" c2="{g}" c3="{b}" c4="{a}"/>' for r, g, b, a in view.colours)
        colours = f"<ColorInterp>Palette</ColorInterp><ColorTable>{entries}</ColorTable>{category_xml(view)}"
    sources = "".join(_source(view, part, band) for part in parts)
    missing = "" if view.fill is None else f"<NoDataValue>{nodata(view.fill)}</NoDataValue>"
    return (
        f'<VRTRasterBand dataType="{_GDAL_TYPES[view.dtype.name]}" band="{band + 1}">'
        f"<Description>{escape(view.bands[band])}</Description>{missing}"
        f"{colours}{sources}</VRTRasterBand>"
    )


def _source(view: Source, part: Part, band: int) -> str:
    (y, x), (height, width) = part.box.start, part.box.shape
    size = f'xSize="{width}" ySize="{height}"'
    return (
        f'<SimpleSource><SourceFilename relativeToVRT="1">{part.name}</SourceFilename>'
        f"<SourceBand>{band + 1}</SourceBand>"
        f'<SourceProperties RasterXSize="{width}" RasterYSize="{height}" '
        f'DataType="{_GDAL_TYPES[view.dtype.name]}"/>'
        f'<SrcRect xOff="0" yOff="0" {size}/><DstRect xOff="{x}" yOff="{y}" {size}/></SimpleSource>'
    )


def _pages(geometry: Geometry, box: Box, extent: int) -> Iterator[Page]:
    """Level 0 of a part and its overviews, until one tile holds all of it."""
    for level in range((extent // geometry.tile).bit_length()):
        scaled = _scaled(box, level)
        yield Page(level, 0, 0, scaled.scale_down((geometry.tile, geometry.tile)))
        if max(scaled.shape) <= geometry.tile:
            return


def _scaled(box: Box, level: int) -> Box:
    return box.scale_down((1 << level, 1 << level))

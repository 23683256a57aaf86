"""Parts: a mask as many COGs in a folder, and a VRT that shows them as one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from unet_batch.products.export.raster.cog import write_cog
from unet_batch.products.export.raster.geometry import Geometry
from unet_batch.products.export.raster.geotiff import category_xml, image_tags, nodata, pixel_tags
from unet_batch.products.export.raster.pieces import Page, Pieces
from unet_batch.products.export.raster.source import Source
from unet_batch.products.export.whole import written_whole
from unet_batch.tiling import BlockGrid, Box

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
    colours = ""
    if view.classes is not None:
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

"""What a GeoTIFF's tags say of a mask: place on the earth, colours, class names, no data. Writes no file."""

from io import BytesIO
from xml.sax.saxutils import escape

import numpy as np

from unet_batch.errors import InputError, text_of
from unet_batch.extras import needed
from unet_batch.products.export.raster.tiff import ASCII, DOUBLE, LONG, RATIONAL, SHORT, Tag, compression_tag
from unet_batch.products.export.view import Source
from unet_batch.store.georef import GeoReference

_PALETTE, _RGB, _MIN_IS_BLACK = 3, 2, 1
_FORMATS = {"u": 1, "i": 2, "f": 3}
_ROLES = ("gray", "red", "green", "blue", "alpha")
_ALPHA = 2  # of ExtraSamples: not multiplied into the colours
_GEO_TAGS = {33550: DOUBLE, 33922: DOUBLE, 34264: DOUBLE, 34735: SHORT, 34736: DOUBLE, 34737: ASCII}
_CENTIMETRE = 3


def pixel_tags(view: Source, tile: int, compression: str) -> list[Tag]:
    """Of every page: how its pixels are stored, coloured, and which of them are none."""
    bits = view.dtype.itemsize * 8
    coloured, colours = has_table(view), [band.colour for band in view.meanings]
    rgb = colours[:3] == ["red", "green", "blue"]
    tags = [
        Tag(258, SHORT, [bits] * view.channels),
        Tag(259, SHORT, compression_tag(compression)),
        Tag(262, SHORT, _PALETTE if coloured else _RGB if rgb else _MIN_IS_BLACK),
        Tag(277, SHORT, view.channels),
        Tag(284, SHORT, 1),
        Tag(322, LONG, tile),
        Tag(323, LONG, tile),
        Tag(339, SHORT, [_FORMATS[view.dtype.kind]] * view.channels),
    ]
    if view.fill is not None:
        tags.append(Tag(42113, ASCII, nodata(view.fill)))
    if coloured:
        tags.append(Tag(320, SHORT, colour_map(view)))
    if extra := range(3 if rgb else 1, view.channels):
        tags.append(Tag(338, SHORT, [_ALPHA if colours[i : i + 1] == ["alpha"] else 0 for i in extra]))
    return tags


def has_table(view: Source) -> bool:
    """Whether pixels are shown by a colour for each value: classes, and images that were so ingested."""
    if view.classes is not None:
        return True
    return bool(view.meanings and view.colours) and view.dtype.name in {"uint8", "uint16"}


def colour_roles(view: Source) -> list[str]:
    """GDAL's name for the colour of each band, where tags of TIFF cannot say it; else none."""
    colours = [band.colour for band in view.meanings]
    if has_table(view) or set(colours) <= {None, "gray"} or colours[:3] == ["red", "green", "blue"]:
        return []
    return [str(colour).capitalize() if colour in _ROLES else "Undefined" for colour in colours]


def image_tags(view: Source, georef: GeoReference | None) -> list[Tag]:
    """Of the first page: names, and where it lies."""
    tags = [Tag(42112, ASCII, gdal_metadata(view)), Tag(305, ASCII, "unet-batch")]
    if georef is not None:
        return tags + geo_tags(georef)
    if view.micrometres is not None:
        for code, axis in ((282, "x"), (283, "y")):
            per_centimetre = round(1e4 / view.micrometres[axis] * 1000)
            tags.append(Tag(code, RATIONAL, [per_centimetre, 1000]))
        tags.append(Tag(296, SHORT, _CENTIMETRE))
    return tags


def nodata(fill: float) -> str:
    """The value without data as text."""
    if np.isnan(fill):
        return "nan"
    return str(int(fill)) if float(fill).is_integer() else repr(float(fill))


def colour_map(view: Source) -> list[int]:
    """Red, green and blue of every value, 0 to 65535; black where there is no class."""
    table = np.zeros((3, 256**view.dtype.itemsize), np.int64)
    colours = np.array(view.colours, np.int64)[:, :3].T
    table[:, : colours.shape[1]] = colours[:, : table.shape[1]] * 257
    return [int(value) for value in table.reshape(-1)]


def gdal_metadata(view: Source) -> str:
    """The XML in which GDAL keeps items of an image and of its bands."""
    items = [
        f'<Item name="DESCRIPTION" sample="{i}" role="description">{_twice_escaped(name)}</Item>'
        for i, name in enumerate(view.bands)
    ]
    for i, band in enumerate(view.meanings):
        told = {"scale": band.scale, "offset": band.offset, "unittype": band.unit}
        plain = {"scale": 1, "offset": 0, "unittype": None}
        items += [
            f'<Item name="{role.upper()}" sample="{i}" role="{role}">{_twice_escaped(str(value))}</Item>'
            for role, value in told.items()
            if value != plain[role]
        ]
    items += [
        f'<Item name="COLORINTERP" sample="{i}" role="colorinterp">{role}</Item>'
        for i, role in enumerate(colour_roles(view))
    ]
    names = [
        f'<Item name="CLASS_{i}">{_twice_escaped(name)}</Item>' for i, name in enumerate(view.classes or ())
    ]
    return "<GDALMetadata>" + "".join([*names, *items]) + "</GDALMetadata>"


def _twice_escaped(text: str) -> str:
    """As GDAL writes text into this XML, and reads it."""
    return escape(escape(text))


def category_xml(view: Source) -> str:
    """``CategoryNames`` as GDAL reads them in a sidecar or a VRT; empty where values are no classes."""
    if view.classes is None:
        return ""
    names = "".join(f"<Category>{escape(name)}</Category>" for name in view.classes)
    return f"<CategoryNames>{names}</CategoryNames>"


def sidecar(view: Source) -> str:
    """What GDAL looks for in FILE.aux.xml: class names have no place in a TIFF."""
    return f'<PAMDataset><PAMRasterBand band="1">{category_xml(view)}</PAMRasterBand></PAMDataset>\n'


def geo_tags(georef: GeoReference) -> list[Tag]:
    """The GeoTIFF tags of a place, as GDAL itself writes them into an image of one pixel.

    Raises:
        InputError: rasterio is missing, or a CRS that it does not know.
    """
    with needed("geo", "a GeoTIFF with a coordinate reference system"):
        import rasterio  # noqa: PLC0415 - an extra
        from rasterio.errors import RasterioError  # noqa: PLC0415
    import tifffile  # noqa: PLC0415 - only where there is a place

    try:
        with rasterio.MemoryFile() as memory:
            profile = {"driver": "GTiff", "width": 1, "height": 1, "count": 1, "dtype": "uint8"}
            place = rasterio.Affine(*georef.transform)
            with memory.open(**profile, crs=georef.crs, transform=place):
                pass
            content = memory.read()
    except (RasterioError, ValueError) as error:
        reason = text_of(error)
        raise InputError(f"CRS {georef.crs:.60}: cannot be written to a GeoTIFF ({reason})") from None
    with tifffile.TiffFile(BytesIO(content)) as tiff:
        stored = tiff.pages.first.tags
        return [Tag(code, kind, stored[code].value) for code, kind in _GEO_TAGS.items() if code in stored]

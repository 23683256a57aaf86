"""What TIFF tags and embedded texts say of an image: pixel size, channel names, nodata. Reads no pixels."""

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import tifffile

from unet_batch.formats.photometry import MIN_IS_WHITE, PALETTE_KEPT, kept, orientation_note
from unet_batch.formats.reader import SAMPLES
from unet_batch.store.bands import Band
from unet_batch.store.units import PixelSize, in_micrometres, length

_NODATA_TAG = 42113  # GDAL_NODATA
_CENTIMETRE = 3
_PRINT_RESOLUTION = 100  # pixels per centimetre
_COLOURS = ("red", "green", "blue")
NO_SIZE = PixelSize({}, None)


def kind_of(file: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> str:
    """Short name of the flavour of TIFF."""
    flavours = {"ome": "OME-TIFF", "imagej": "ImageJ TIFF", "svs": "Aperio SVS", "ndpi": "Hamamatsu NDPI"}
    return flavours.get(series.kind, "BigTIFF" if file.is_bigtiff else "TIFF")


def pixel_size_of(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, number: int) -> PixelSize:
    """Pixel extent by axis in micrometres, or nothing where the file does not say.

    A bare resolution tag counts only in centimetres, as OpenSlide has it, and finer than 100 micrometres:
    else it was made for screens and printers.
    """
    if series.kind == "ome":
        return _ome_pixel_size(file, number)
    if series.kind == "svs":
        found = re.search(r"MPP\s*=\s*([0-9.]+)", series.keyframe.description)
        size = float(found[1]) if found else 0.0
        return in_micrometres({"y": (size, "µm"), "x": (size, "µm")})
    if series.kind == "imagej":
        return _imagej_pixel_size(file, series.keyframe)
    if series.keyframe.resolutionunit != _CENTIMETRE:
        return NO_SIZE
    across, down = _resolution(series.keyframe)
    if min(across, down) <= _PRINT_RESOLUTION:
        return NO_SIZE
    return in_micrometres({"y": (1 / down, "cm"), "x": (1 / across, "cm")})


def channel_names(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, number: int, axes: str
) -> tuple[str, ...]:
    """Names of the channels in stored order; empty where there are none."""
    if SAMPLES in axes and "c" not in axes:
        return _sample_names(series.keyframe)
    if series.kind != "ome" or SAMPLES in axes:
        return ()
    pixels = _ome_pixels(file, number)
    if pixels is None:
        return ()
    return tuple(c.get("Name") or c.get("ID") or "" for c in pixels.iterfind("{*}Channel"))


def _sample_names(page: tifffile.TiffPage) -> tuple[str, ...]:
    if page.photometric not in {tifffile.PHOTOMETRIC.RGB, tifffile.PHOTOMETRIC.YCBCR}:
        return ()
    alpha = {tifffile.EXTRASAMPLE.ASSOCALPHA, tifffile.EXTRASAMPLE.UNASSALPHA}
    extra = ["alpha" if kind in alpha else f"band {4 + i}" for i, kind in enumerate(page.extrasamples)]
    return (*_COLOURS, *extra)


def colour_notes(series: tifffile.TiffPageSeries) -> tuple[str, ...]:
    """What a person should know of how colours are stored, and of a picture that is to be shown turned."""
    page, kinds = series.keyframe, tifffile.PHOTOMETRIC
    told = {
        kinds.MINISWHITE: MIN_IS_WHITE,
        kinds.SEPARATED: kept("CMYK"),
        kinds.CIELAB: kept("CIELAB"),
        kinds.PALETTE: "its colour tables are for display and left out; pixels are intensities"
        if series.kind == "imagej"
        else PALETTE_KEPT,
    }
    notes = [text for kind, text in told.items() if kind == page.photometric]
    tag = page.tags.get("Orientation")
    return (*notes, *orientation_note(1 if tag is None else tag.value))


def palette_band(series: tifffile.TiffPageSeries) -> tuple[Band, ...]:
    """The one band of an image whose pixels are numbers of colours; none for others."""
    page = series.keyframe
    table = page.colormap if page.photometric == tifffile.PHOTOMETRIC.PALETTE else None
    if table is None or series.kind == "imagej":
        return ()
    return (Band(colour="palette", table=tuple((r, g, b, 255) for r, g, b in (table.T >> 8).tolist())),)


def nodata_of(page: tifffile.TiffPage) -> float | None:
    """GDAL's nodata tag, where the pixel type can hold it."""
    tag = page.tags.get(_NODATA_TAG)
    if tag is None or page.dtype is None:
        return None
    try:
        value = float(str(tag.value).strip("\0 "))
    except ValueError:
        return None
    if page.dtype.kind == "f":
        return value
    limits = np.iinfo(page.dtype if page.dtype.kind in "iu" else np.uint8)
    return value if value.is_integer() and limits.min <= value <= limits.max else None


def _ome_pixel_size(file: tifffile.TiffFile, number: int) -> PixelSize:
    pixels = _ome_pixels(file, number)
    if pixels is None:
        return NO_SIZE
    found: dict[str, tuple[float, str | None]] = {}
    for axis in "zyx":
        extent = pixels.get(f"PhysicalSize{axis.upper()}")
        if extent is not None:
            found[axis] = float(extent), pixels.get(f"PhysicalSize{axis.upper()}Unit", "µm")
    return in_micrometres(found)


def _ome_pixels(file: tifffile.TiffFile, number: int) -> ET.Element | None:
    """The Pixels element of one image; None where the description is not XML or holds fewer images."""
    try:
        # tifffile has parsed this same text in the probe's child process, under its limits.
        root = ET.fromstring(file.ome_metadata or "")  # noqa: S314
    except ET.ParseError:
        return None
    images = root.findall("{*}Image")
    return images[number].find("{*}Pixels") if number < len(images) else None


def _imagej_pixel_size(file: tifffile.TiffFile, page: tifffile.TiffPage) -> PixelSize:
    metadata = file.imagej_metadata or {}
    unit = str(metadata.get("unit", ""))
    across, down = _resolution(page)
    if not across or not down:
        return NO_SIZE
    found: dict[str, tuple[float, str | None]] = {"y": (1 / down, unit), "x": (1 / across, unit)}
    if "spacing" in metadata:
        found["z"] = abs(float(metadata["spacing"])), unit
    return in_micrometres(found)


def _resolution(page: tifffile.TiffPage) -> tuple[float, float]:
    """Pixels per unit across and down, 0 where the tag is missing or hollow."""
    values = []
    for name in ("XResolution", "YResolution"):
        tag = page.tags.get(name)
        over, under = tag.value if tag is not None and isinstance(tag.value, tuple) else (0, 1)
        values.append(over / under if under else 0.0)
    return values[0], values[1]


def stage_positions(path: Path) -> list[tuple[float, float, bool] | None]:
    """Where each image of an OME-TIFF lies on the stage: x, y, and whether they are micrometres.

    OME's default unit, the reference frame, says nothing of lengths. None for an image without a position.
    """
    with tifffile.TiffFile(path) as file:
        text = file.ome_metadata or ""
    try:
        # A stage scan's own files, which the person named; expat refuses entity bombs.
        root = ET.fromstring(text)  # noqa: S314
    except ET.ParseError:
        return []
    return [_position(image.find("{*}Pixels/{*}Plane")) for image in root.findall("{*}Image")]


def _position(plane: ET.Element | None) -> tuple[float, float, bool] | None:
    if plane is None or plane.get("PositionX") is None or plane.get("PositionY") is None:
        return None
    units = [length(plane.get(f"Position{axis}Unit")) for axis in "XY"]
    x, y = (
        float(plane.get(f"Position{axis}", "nan")) * (unit.micrometres if unit else 1.0)
        for axis, unit in zip("XY", units, strict=True)
    )
    return (x, y, None not in units) if np.isfinite(x + y) else None

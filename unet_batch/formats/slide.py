"""Whole slides through OpenSlide: any level, with what the scanner says. Label and macro stay out."""

from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import FormatError, InputError
from unet_batch.extras import require
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.reader import ArrangedReader, Facts
from unet_batch.formats.segments import SegmentCache
from unet_batch.store.units import in_micrometres
from unet_batch.tiling.box import Box

_CELL = 1024
_WHITE = "FFFFFF"
_NAMES = {
    "aperio": "Aperio SVS",
    "dicom": "DICOM slide",
    "generic-tiff": "TIFF",
    "hamamatsu": "Hamamatsu slide",
    "leica": "Leica SCN",
    "mirax": "3DHISTECH MRXS",
    "philips": "Philips TIFF",
    "sakura": "Sakura SVSLIDE",
    "trestle": "Trestle TIFF",
    "ventana": "Ventana BIF",
    "zeiss": "Zeiss CZI",
}


def is_slide(path: Path) -> bool:
    """Whether OpenSlide reads the file."""
    import openslide  # noqa: PLC0415 - an optional package

    return openslide.OpenSlide.detect_format(path) is not None


def open_slide(path: Path, config: ReadConfig) -> ArrangedReader:
    """One level of a slide, transparent pixels on its background.

    Raises:
        FormatError: damaged, or files of the slide are missing.
        InputError: settings that do not fit, or no OpenSlide.
    """
    require("openslide", "slides", f"{path}: a slide")
    import openslide  # noqa: PLC0415 - an optional package

    vendor = openslide.OpenSlide.detect_format(path)
    if vendor is None:
        raise FormatError(f"{path}: {_missing_parts(path)}")
    slide = openslide.OpenSlide(path)
    try:
        return _reader(path, slide, vendor, config)
    except BaseException:
        slide.close()
        raise


def _missing_parts(path: Path) -> str:
    folder = path.with_suffix("")
    if path.suffix.lower() == ".mrxs" and not folder.is_dir():
        return f"its folder {folder.name} is missing; put it beside the file"
    return "no slide that OpenSlide reads, or files of it are missing; copy all of them again"


def _reader(path: Path, slide: Any, vendor: str, config: ReadConfig) -> ArrangedReader:
    if config.series:
        raise InputError(f"{path}: a slide has one image, label and macro are never read; leave `series` out")
    if config.axes not in {None, "yxc"}:
        raise InputError(f"{path}: its axes are yxc, not {config.axes}; leave `axes` out")
    count = slide.level_count
    if config.level >= count:
        raise InputError(f"{path}: has levels 0 to {count - 1}, no level {config.level}; mend `level`")
    slide.set_cache(_cache(config.cache_mb))
    told = slide.properties
    across, down = (
        _number(told, f"openslide.mpp-{axis}") * _stretch(slide, config.level, axis) for axis in "xy"
    )
    size = in_micrometres({"y": (down, "µm"), "x": (across, "µm")})
    facts = Facts(
        kind=_NAMES.get(vendor, vendor),
        axes="yxc",
        channel_names=("red", "green", "blue"),
        pixel_size=size.sizes,
        unit=size.unit,
        levels=count,
        notes=size.notes,
        attributes={"slide": _told(slide, vendor)},
    )
    return ArrangedReader(str(path), SlideLevel(slide, config.level, config.cache_mb * 2**20), facts, config)


def _cache(megabytes: int) -> Any:
    import openslide  # noqa: PLC0415 - an optional package

    return openslide.OpenSlideCache(megabytes * 2**20)


def _stretch(slide: Any, level: int, axis: str) -> float:
    at = "xy".index(axis)
    return float(slide.dimensions[at] / slide.level_dimensions[level][at])


def _number(told: Any, key: str) -> float:
    try:
        return float(told.get(key, 0))
    except ValueError:
        return 0.0


def _told(slide: Any, vendor: str) -> dict[str, Any]:
    """Vendor, magnification, bounds of what was scanned, names of the pictures that are not read."""
    told = slide.properties
    found: dict[str, Any] = {"vendor": vendor}
    if power := _number(told, "openslide.objective-power"):
        found["magnification"] = power
    bounds = [told.get(f"openslide.bounds-{name}") for name in ("x", "y", "width", "height")]
    if None not in bounds:
        found["bounds_xywh"] = [int(value) for value in bounds]
    if slide.associated_images:
        found["associated"] = sorted(slide.associated_images)
    return found


class SlideLevel:
    """A StoredArray (y, x, 3) of one level.

    OpenSlide takes corners in pixels of level 0. Where a level's pixels do not lie on those, corners between
    them would be interpolated, differently for every box; so cells of a fixed grid are read there.
    """

    def __init__(self, slide: Any, level: int, cache_bytes: int) -> None:
        self._slide, self._level = slide, level
        width, height = slide.level_dimensions[level]
        self._step = float(slide.level_downsamples[level])
        self._cells = SegmentCache(cache_bytes)
        colour = slide.properties.get("openslide.background-color", _WHITE)
        self._ground = np.frombuffer(bytes.fromhex(colour), np.uint8)
        self.shape = (height, width, 3)
        self.dtype = np.dtype(np.uint8)

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of the box."""
        plane = Box(box.start[:2], box.stop[:2])
        samples = slice(box.start[2], box.stop[2])
        if self._step.is_integer():
            return self._region(plane)[..., samples]
        out = np.empty((*plane.shape, 3), np.uint8)
        for row, column in plane.scale_down((_CELL, _CELL)).positions():
            cell = Box((row * _CELL, column * _CELL), ((row + 1) * _CELL, (column + 1) * _CELL))
            cell = cell.intersect(Box.of_shape(self.shape[:2]))
            pixels = self._cells.get((row, column), partial(self._region, cell))
            here = cell.intersect(plane)
            out[here.relative_to(plane.start).slices] = pixels[here.relative_to(cell.start).slices]
        return out[..., samples]

    def close(self) -> None:
        """Close the slide."""
        self._slide.close()

    def _region(self, plane: Box) -> NDArray[np.uint8]:
        (y, x), (height, width) = plane.start, plane.shape
        corner = ceil(x * self._step - 0.5), ceil(y * self._step - 0.5)
        rgba = np.asarray(self._slide.read_region(corner, self._level, (width, height)))
        alpha = rgba[..., 3:]
        if alpha.min() == 255:
            return np.ascontiguousarray(rgba[..., :3])
        opaque = alpha.astype(np.uint16)
        mixed = (rgba[..., :3] * opaque + self._ground * (255 - opaque) + 127) // 255
        return np.asarray(mixed, np.uint8)

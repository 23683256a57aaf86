"""How colours of a picture are stored, and what a person is told of it. Reads no pixels."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

MIN_IS_WHITE = "0 stands for white (MinIsWhite); values are kept as stored"
PALETTE_KEPT = "palette indices are kept as pixel values"


def kept(space: str) -> str:
    """The note on a colour space that is not converted."""
    return f"its colours are {space} and kept as stored; convert it for networks that take RGB"


def colour_table(found: Mapping[int, tuple[int, ...]]) -> tuple[tuple[int, int, int, int], ...]:
    """The colour of each value from 0 on, of rasterio's mapping; opaque black where it has a gap."""
    colours = (found.get(value, (0, 0, 0, 255)) for value in range(max(found, default=-1) + 1))
    return tuple((r, g, b, a) for r, g, b, a in colours)


def colour_notes(dataset: "DatasetReader") -> tuple[str, ...]:
    """What a person should know of how colours are stored."""
    if dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES":
        return (MIN_IS_WHITE,)
    space = dataset.tags(ns="IMAGE_STRUCTURE").get("SOURCE_COLOR_SPACE", "")
    return (f"its colours are {space}, which GDAL converts to RGB",) if space in {"CMYK", "CIELAB"} else ()


def orientation_note(value: object) -> tuple[str, ...]:
    """That a picture is not turned as its tag (of TIFF or EXIF) says."""
    if value not in range(2, 9):
        return ()
    return (f"its orientation tag says {value}, to be shown turned or mirrored; pixels are kept as stored",)

"""Units of length: the one table of their names, in OME-Zarr, in OME-XML, in UCUM and as people write them.

    >>> length("µm").name
    'micrometer'
    >>> length("metre").symbol
    'm'
    >>> length("furlong") is None
    True

Sources: https://ngff.openmicroscopy.org/0.5/#axes-md (names), UnitsLength of OME's schema 2016-06 (symbols),
https://ucum.org/ucum (case-sensitive codes).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from unicodedata import normalize

_PIXEL = {"", "none", "pixel", "pixels", "px", "reference frame", "unknown"}


@dataclass(frozen=True, slots=True)
class Length:
    """A unit of length.

    Attributes:
        name: as OME-Zarr writes it.
        micrometres: how many it has.
        symbol: as OME-XML and people write it.
        ascii: the symbol in ASCII, for names of columns.
    """

    name: str
    micrometres: float
    symbol: str
    ascii: str


@dataclass(frozen=True, slots=True)
class PixelSize:
    """Extents of a pixel by axis, all in one unit (None where there is none), and what people should know."""

    sizes: dict[str, float]
    unit: str | None
    notes: tuple[str, ...] = ()


# Name, micrometres, symbol, ASCII, then other ways to write it (small letters; singular).
_TABLE: tuple[tuple[str, float, str, str, *tuple[str, ...]], ...] = (
    ("picometer", 1e-6, "pm", "pm"),
    ("angstrom", 1e-4, "Å", "angstrom", "ångström", "ao", "ang"),
    ("nanometer", 1e-3, "nm", "nm"),
    ("micrometer", 1.0, "µm", "um", "micron", "mum", "\\u00b5m"),
    ("millimeter", 1e3, "mm", "mm"),
    ("centimeter", 1e4, "cm", "cm"),
    ("decimeter", 1e5, "dm", "dm"),
    ("meter", 1e6, "m", "m"),
    ("kilometer", 1e9, "km", "km"),
    ("inch", 25_400.0, "in", "in", "inche", '"', "[in_i]"),
    ("foot", 304_800.0, "ft", "ft", "feet", "[ft_i]"),
    ("yard", 914_400.0, "yd", "yd", "[yd_i]"),
    ("mile", 1.609344e9, "mi", "mi", "[mi_i]"),
)
_LENGTHS = {name: Length(name, size, symbol, plain) for name, size, symbol, plain, *_ in _TABLE}
MICROMETER = _LENGTHS["micrometer"]
_SYMBOLS = {normalize("NFKC", text): _LENGTHS[row[0]] for row in _TABLE for text in row[2:4]}
_NAMES = {normalize("NFKC", text): _LENGTHS[row[0]] for row in _TABLE for text in (row[0], *row[4:])}


def length(text: str | None) -> Length | None:
    """The unit that a text means; None for none, for pixels, and for what is not known.

    Symbols are told apart by their case (mm and Mm); names are not, and may be plural or end in -metre.
    """
    plain = normalize("NFKC", (text or "").strip())  # one letter for each of the two of µ and of Å
    if plain in _SYMBOLS:
        return _SYMBOLS[plain]
    small = plain.lower()
    if small in ("um", "nm"):  # no unit has these letters in capitals
        return _SYMBOLS[small]
    return _NAMES.get(small) or _NAMES.get(small.removesuffix("s").replace("metre", "meter"))


def canonical(text: str | None) -> str | None:
    """The name by which OME-Zarr has a unit of length; None for pixels; else the text as it is."""
    if text is None or text.strip().lower() in _PIXEL:
        return None
    found = length(text)
    return text if found is None else found.name


def in_micrometres(found: Mapping[str, tuple[float, str | None]]) -> PixelSize:
    """What a file says of the extent of its pixels: by axis, a number and the unit that it names.

    Only what can be true is kept: positive, finite, in a known unit; and y and x together or neither, since
    an area needs both. What is left out, other than pixels without a size, is told in a note.
    """
    sizes, notes = {}, []
    for axis, (extent, text) in found.items():
        unit = length(text)
        if unit is not None and 0 < extent < float("inf"):
            sizes[axis] = extent * unit.micrometres
        elif unit is None and canonical(text) is not None:
            notes.append(
                f"the pixel size along {axis} is left out: {extent:g} {text!r:.30} is no known length"
            )
    if len(alone := {"y", "x"} & sizes.keys()) == 1:
        axis = alone.pop()
        del sizes[axis]
        notes.append(f"the pixel size is known along {axis} alone and left out; `pixel_size` gives it")
    return PixelSize(sizes, "micrometer" if sizes else None, tuple(notes))

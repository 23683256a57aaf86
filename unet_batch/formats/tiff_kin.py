"""What begins like a TIFF: slides go to OpenSlide, maps to GDAL, all others to tifffile."""

from pathlib import Path

import tifffile

from unet_batch.errors import FormatError
from unet_batch.extras import has, missing
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.geotiff import open_placed
from unet_batch.formats.reader import Reader

_FLAVOURS = {
    "is_svs": "Aperio SVS",
    "is_ndpi": "Hamamatsu NDPI",
    "is_scn": "Leica SCN",
    "is_bif": "Ventana BIF",
    "is_philips": "Philips TIFF",
}
_TRESTLE = "MedScan"


def open_tiff_kin(path: Path, config: ReadConfig) -> Reader:
    """A file that begins like a TIFF.

    Raises:
        FormatError: damaged, or the overview of a VSI, whose pixels lie elsewhere.
        InputError: settings that do not fit the file.
    """
    if path.suffix.lower() == ".vsi":
        raise FormatError(
            f"{path}: is Olympus VSI, whose pixels lie in .ets files and are not read; convert it with "
            "`bfconvert` or QuPath to OME-TIFF"
        )
    flavour = slide_flavour(path)
    if flavour is None:
        return open_placed(path, config)
    if has("openslide"):
        from unet_batch.formats.slide import is_slide, open_slide  # noqa: PLC0415 - a decoder only when needed

        if is_slide(path):
            return open_slide(path, config)
    reader = open_placed(path, config)
    if not has("openslide"):
        reader.notes += (f"left out: {missing('openslide', 'slides', 'what a slide says of itself')}",)
    return reader


def slide_flavour(path: Path) -> str | None:
    """The slide scanner's format that a TIFF is of, by its first page's tags."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        for flag, name in _FLAVOURS.items():
            if getattr(file, flag, False) and page.dtype is not None and page.dtype.itemsize == 1:
                return name
        return "Trestle TIFF" if str(page.software).startswith(_TRESTLE) else None

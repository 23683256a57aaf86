"""Which names of rasters lead to the network, also those that stand inside files, and which drivers open any.

Whoever writes an index or a VRT must not decide where the program connects. Knows no pixels.
"""

import html
import re
from collections.abc import Iterator
from pathlib import Path

from unet_batch.errors import InputError

# Drivers of single files, with what lies beside them by name. None asks a server or names other files, but
# VRT, whose names are looked at.
DRIVERS = (
    *("GTiff", "LIBERTIFF", "VRT", "PNG", "JPEG", "JP2OpenJPEG", "JP2ECW", "JP2KAK", "JP2MrSID", "JPEGXL"),
    *("ECW", "MrSID", "WEBP", "GIF", "BMP", "PNM", "HFA", "ENVI", "EHdr", "AAIGrid", "AIG", "GRIB", "NITF"),
    *("netCDF", "HDF4", "HDF4Image", "HDF5", "HDF5Image", "KEA", "FITS", "GPKG", "MBTiles", "PCIDSK", "RMF"),
    *("RST", "SAGA", "SRTMHGT", "DTED", "USGSDEM", "XYZ", "GSAG", "GSBG", "GS7BG", "ISCE", "BAG", "GTX"),
)
_LOCAL_SCHEMES = {"file", "zip", "tar", "gzip"}
_LOCAL_VSI = {"/vsizip", "/vsitar", "/vsigzip", "/vsi7z", "/vsirar", "/vsisubfile", "/vsimem"}
_LOCAL_PREFIXES = {
    "EPSG",
    "ESRI",
    "OGC",
    "IGNF",
    "NETCDF",
    "HDF5",
    "HDF4_SDS",
    "GTIFF_DIR",
    "NITF_IM",
    "GPKG",
}
_SCHEME = re.compile(r"([A-Za-z0-9+.-]*)://")
_VSI = re.compile(r"/vsi[a-z0-9_]+", re.IGNORECASE)
_PREFIX = re.compile(r"\s*\"?([A-Za-z][A-Za-z0-9_]+):")
_TEXT = re.compile(r"[>\"']([^<>\"']+)")
_CURE = "allow it with --remote (`remote: true`) of `ingest mosaic`, or give the address itself"
_MOST = 2**28


def leads_away(name: str) -> bool:
    """Whether GDAL may ask the network for this name: an address, /vsicurl and its kin, ``WMS:``."""
    schemes = [one.lower() for found in _SCHEME.findall(name) for one in found.split("+")]
    prefix = _PREFIX.match(name)
    return (
        any(scheme not in _LOCAL_SCHEMES for scheme in schemes)
        or any(found.lower() not in _LOCAL_VSI for found in _VSI.findall(name))
        or (prefix is not None and prefix[1].upper() not in _LOCAL_PREFIXES | {"FILE", "ZIP", "TAR", "GZIP"})
    )


def refuse_name(name: str, where: str) -> None:
    """Raise an InputError where a name that stands in the file ``where`` leads to the network."""
    if leads_away(name):
        raise InputError(f"{where}: names {name!r:.80}, which is not on this machine; {_CURE}")


def refuse_distant_names(path: Path) -> None:
    """Raise an InputError where a file (a VRT, and those that it names) names something on the network.

    Text is looked through as GDAL's lenient parser might see it, metadata too: rather one name too many.
    """
    waiting, seen = [path.absolute()], set()
    while waiting:
        file = waiting.pop()
        if file in seen or not _is_xml(file):
            continue
        seen.add(file)
        for text in _texts(file):
            refuse_name(text, str(path))
            waiting += _files(file.parent, text)


def _is_xml(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")
    except OSError:
        return False


def _texts(file: Path) -> Iterator[str]:
    if file.stat().st_size > _MOST:
        raise InputError(f"{file}: is too long for a list of sources; split it")
    whole = html.unescape(file.read_text("utf-8", errors="replace"))
    for found in _TEXT.finditer(whole.replace("<![CDATA[", ">")):
        if (text := found[1].strip()) and not text.startswith(("PROJC", "GEOGC")):
            yield text


def _files(folder: Path, text: str) -> Iterator[Path]:
    if text[:1].isdigit() and "." not in text:
        return
    for place in {folder / text, Path(text).absolute()}:
        try:
            if place.is_file():
                yield place
        except (OSError, ValueError):
            continue

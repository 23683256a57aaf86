"""The one table of foreign formats: how each is told, what opens it, and what is read of it and what is not.

`open_reader`, `unet-batch formats` and docs/formats.md have it from here. Imports no decoder.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from unet_batch.formats.config import ReadConfig
from unet_batch.formats.reader import Reader

HEAD = 512
"""Bytes at the beginning of a file that tell what it is."""

Opener = Callable[[Path, ReadConfig], Reader]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file and what opens it.

    Attributes:
        name: as people call it.
        suffixes: usual ends of names, in lower case; they find files in a folder.
        signatures: what a file has at ``offset``; none for what is told from within another format.
        opener: ``module:function``, an Opener; imported with its decoder when a file needs it.
        library: the packages that decode it.
        extra: what `pip install 'unet-batch[EXTRA]'` brings them; empty: always there.
        reads: what is read of it.
        lacks: what is not.
        offset: where the signatures are.
        by_name: whether a suffix alone tells it, as its first bytes are those of another format.
    """

    name: str
    suffixes: tuple[str, ...]
    signatures: tuple[bytes, ...]
    opener: str
    library: str
    extra: str = ""
    reads: str = ""
    lacks: str = ""
    offset: int = 0
    by_name: bool = False

    def open(self, path: Path, config: ReadConfig) -> Reader:
        """A reader of the file."""
        opener: Opener = resolve_name(self.opener)
        return opener(path, config)

    def fits(self, path: Path, head: bytes) -> bool:
        """Whether a file of this name and these first bytes is of this format."""
        if self.by_name:
            return path.suffix.lower() in self.suffixes
        return any(head[self.offset :].startswith(mark) for mark in self.signatures)


_TIFF = "unet_batch.formats.tiff_kin:open_tiff_kin"
_PICTURE = "unet_batch.formats.picture:open_picture"
_SLIDE = "unet_batch.formats.slide:open_slide"
_VOLUME = "unet_batch.formats.volume:open_volume"
_ELECTRON = "unet_batch.formats.electron:open_rosetta"
_OPENSLIDE = "openslide-python, openslide-bin"
_LABELS = "label, macro and thumbnail (named by `info`)"
_SPACING = "spacing, orientation (`canonical` turns it to RAS+), rescale slope and intercept"

TIFF = Format(
    "TIFF",
    (".tif", ".tiff"),
    (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    _TIFF,
    "tifffile, imagecodecs",
    reads="BigTIFF, OME-TIFF and its sets, ImageJ, pyramids; strips and tiles as stored",
    lacks="complex pixels",
)


def _slide(name: str, suffix: str, reads: str = "all levels, mpp, magnification, bounds") -> Format:
    """A slide that is a TIFF by its first bytes."""
    return Format(name, (suffix,), (), _SLIDE, _OPENSLIDE, "slides", reads, _LABELS)


FORMATS = (
    Format(
        "3DHISTECH MRXS",
        (".mrxs",),
        (),
        _SLIDE,
        _OPENSLIDE,
        "slides",
        "all levels, mpp, magnification, bounds",
        f"{_LABELS}; layers of focus",
        by_name=True,
    ),
    Format(
        "DICOM",
        (".dcm",),
        (b"DICM",),
        "unet_batch.formats.dicom:open_dicom",
        f"{_OPENSLIDE} (slides); SimpleITK (others)",
        "slides, volumes",
        "a file or folder: whole slides with their levels; a series with spacing, orientation, rescale",
        "series with gaps or of several orientations; tilted gantries",
        offset=128,
    ),
    TIFF,
    Format(
        "GeoTIFF",
        (),
        (),
        _TIFF,
        "rasterio",
        "geo",
        "CRS, transform, nodata, masks, bands, overviews; world files, .prj and .aux.xml beside it",
        "complex pixels, ground control points",
    ),
    _slide("Aperio SVS", ".svs"),
    _slide("Hamamatsu NDPI", ".ndpi"),
    _slide("Leica SCN", ".scn"),
    _slide("Ventana BIF", ".bif"),
    _slide("Philips TIFF", ".tiff"),
    _slide("Trestle TIFF", ".tif"),
    Format(
        "Hamamatsu VMS, VMU",
        (".vms", ".vmu"),
        (b"[Virtual Microscope Specimen]", b"[Uncompressed Virtual Microscope Specimen]"),
        _SLIDE,
        _OPENSLIDE,
        "slides",
        "all levels, mpp, magnification",
        _LABELS,
    ),
    Format(
        "Sakura SVSLIDE",
        (".svslide",),
        (b"SQLite format 3\0",),
        _SLIDE,
        _OPENSLIDE,
        "slides",
        "all levels, mpp, magnification",
        _LABELS,
    ),
    Format(
        "Zeiss CZI",
        (".czi",),
        (b"ZISRAWFILE",),
        "unet_batch.formats.czi:open_czi",
        "pylibCZIrw",
        "microscopes",
        "scenes as series, mosaics put together, t, c, z, colour; pixel size, channel names",
        "its pyramid; rotations, views, phases beyond the first",
    ),
    Format(
        "Leica LIF",
        (".lif",),
        (b"p\0\0\0",),
        "unet_batch.formats.lif:open_lif",
        "liffile",
        "microscopes",
        "series, t, c, z; sections along z as planes; pixel size, channel names",
        "lifetimes (FLIM); tiles are not put together",
    ),
    Format(
        "Nikon ND2",
        (".nd2",),
        (b"\xda\xce\xbe\x0a",),
        "unet_batch.formats.nikon:open_nd2",
        "nd2",
        "microscopes",
        "positions as series, t, c, z, colour; pixel size, channel names",
        "stitching of positions; ND2 of before 2010",
    ),
    Format(
        "Gatan DM3, DM4",
        (".dm3", ".dm4"),
        (b"\0\0\0\x03", b"\0\0\0\x04"),
        _ELECTRON,
        "rosettasciio",
        "microscopes",
        "images and stacks as series; pixel size",
        "spectra",
    ),
    Format(
        "FEI SER",
        (".ser",),
        (b"II\x97\x01",),
        _ELECTRON,
        "rosettasciio",
        "microscopes",
        "images and stacks; pixel size",
        "spectra",
    ),
    Format(
        "MRC",
        (".mrc", ".map", ".rec", ".st"),
        (b"MAP ",),
        "unet_batch.formats.electron:open_mrc",
        "mrcfile",
        "microscopes",
        "images, volumes; pixel size",
        "complex pixels",
        offset=208,
    ),
    Format(
        "NIfTI",
        (".nii", ".nii.gz"),
        (b"n+1\0", b"ni1\0"),
        _VOLUME,
        "SimpleITK",
        "volumes",
        f"3-D and 4-D; {_SPACING}",
        "sheared axes; NIfTI-2",
        offset=344,
    ),
    Format("NRRD", (".nrrd", ".nhdr"), (b"NRRD",), _VOLUME, "SimpleITK", "volumes", _SPACING, "5-D"),
    Format(
        "MetaImage",
        (".mha", ".mhd"),
        (b"ObjectType", b"NDims"),
        _VOLUME,
        "SimpleITK",
        "volumes",
        _SPACING,
        "5-D",
    ),
    Format(
        "HDF5",
        (".h5", ".hdf5", ".ims"),
        (b"\x89HDF\r\n\x1a\n",),
        "unet_batch.formats.hdf5:open_hdf5",
        "h5py",
        "volumes",
        "`FILE:/path` names a dataset, else the largest; `axes` names its axes",
        "compound types",
    ),
    Format(
        "PNG",
        (".png",),
        (b"\x89PNG\r\n\x1a\n",),
        _PICTURE,
        "pillow",
        reads="8 and 16 bits",
        lacks="pictures over 2 GiB",
    ),
    Format("JPEG", (".jpg", ".jpeg"), (b"\xff\xd8\xff",), _PICTURE, "pillow", lacks="pictures over 2 GiB"),
    Format(
        ".npy",
        (".npy",),
        (b"\x93NUMPY",),
        "unet_batch.formats.flat:open_numpy",
        "numpy",
        reads="arrays of numbers; `axes` names their axes",
        lacks="Python objects",
    ),
)

HEADINGS = ("format", "library", "extra", "read", "not read")
MODULES = {
    "geo": ("rasterio",),
    "microscopes": ("pylibCZIrw", "liffile", "nd2", "rsciio", "mrcfile"),
    "slides": ("openslide",),
    "volumes": ("SimpleITK", "h5py"),
}
"""What each extra brings, by the names that are imported."""

UNREAD: tuple[tuple[str, int, bytes, str], ...] = (
    ("GIF", 0, b"GIF8", "save it as PNG or TIFF"),
    ("BMP", 0, b"BM", "save it as PNG or TIFF"),
    ("HDF4", 0, b"\x0e\x03\x13\x01", "convert it with `h4toh5` to HDF5"),
    ("OLE2 (Olympus OIB, Zeiss ZVI)", 0, b"\xd0\xcf\x11\xe0", "convert it with `bfconvert` to OME-TIFF"),
    ("JPEG 2000", 4, b"jP  ", "convert it with `gdal_translate` to a tiled TIFF"),
    ("a ZIP archive", 0, b"PK\x03\x04", "unpack it first"),
    ("PDF", 0, b"%PDF", "export its pictures as TIFF"),
)
"""What is known and not read: name, offset, signature, cure."""


def by_head(path: Path, head: bytes) -> Format | None:
    """The format of a file with these first bytes."""
    return next((one for one in FORMATS if one.fits(path, head)), None)


def rows() -> list[tuple[str, str, str, str, str]]:
    """The table for people: name with suffixes, library, extra, what is read, what is not."""
    return [(_titled(one), one.library, one.extra, one.reads, one.lacks) for one in FORMATS]


def _titled(one: Format) -> str:
    return f"{one.name} ({', '.join(one.suffixes)})" if one.suffixes else one.name


def table() -> str:
    """The same in Markdown, as docs/formats.md has it."""
    lines = [HEADINGS, ("---",) * len(HEADINGS), *rows()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""Which reader a file needs, and where errors of decoders become ours.

The first bytes decide, as names lie. `info`, `ingest` and all verbs that read foreign files come here.
"""

import errno
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unet_batch.errors import FormatError, InputError, MissingError, UnetBatchError, one_line
from unet_batch.formats.catalogue import FORMATS, HEAD, UNREAD, by_head
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.geotiff import open_geotiff
from unet_batch.formats.raster import is_remote
from unet_batch.formats.reader import Reader

ZARR_MARKS = ("zarr.json", ".zarray", ".zgroup")
_GZIP = b"\x1f\x8b"


def open_reader(path: str | Path, config: ReadConfig) -> Reader:
    """The image of a foreign file, to be closed by the caller.

    Raises:
        MissingError: no such file.
        InputError: a Zarr store, settings that do not fit the file, or a library that is not installed.
        FormatError: no known format, or damaged.
    """
    if is_remote(path):
        reader: Reader = open_geotiff(path, config)
    elif Path(path).is_dir():
        reader = _open_folder(Path(path), config)
    else:
        reader = _open_file(path, config)
    if config.crs is not None and config.georeference and reader.georef is None:
        reader.notes += ("`crs` has no effect: nothing says where the image lies in it",)
    return reader


def file_of(path: str | Path) -> Path:
    """The file that ``path`` names, without the dataset inside it (``FILE:/dataset`` of HDF5)."""
    file, colon, _ = str(path).partition(":/")
    return Path(file) if colon and not is_remote(path) else Path(path)


def known(path: Path) -> bool:
    """Whether a file's name ends as those of a format do; for finding images in a folder."""
    name = path.name.lower()
    return path.is_file() and any(name.endswith(suffix) for one in FORMATS for suffix in one.suffixes)


def stem_of(path: str | Path) -> str:
    """The name of a file without the ending of its format."""
    name = file_of(path).name
    ends = sorted((suffix for one in FORMATS for suffix in one.suffixes), key=len, reverse=True)
    end = next((suffix for suffix in ends if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(end)] if len(name) > len(end) else name


def is_zarr(path: Path) -> bool:
    """Whether a Zarr array or group lies there."""
    return any((path / mark).is_file() for mark in ZARR_MARKS)


@contextmanager
def foreign(path: str | Path) -> Iterator[None]:
    """Turns whatever a decoder raises over foreign bytes into a FormatError of one line."""
    try:
        yield
    except UnetBatchError:
        raise
    except MemoryError:
        raise FormatError(f"{path}: asks for more memory than its size can justify; it is damaged") from None
    except PermissionError:
        raise FormatError(f"{path}: cannot be read (Permission denied); check its permissions") from None
    except Exception as error:
        reason = one_line(error)
        raise FormatError(
            f"{path}: cannot be decoded ({reason}); it is damaged or of an unknown flavour"
        ) from error


def _open_file(path: str | Path, config: ReadConfig) -> Reader:
    file = file_of(path)
    head = _first_bytes(file)
    found = by_head(file, head)
    if found is None:
        raise _unknown(file, head)
    if file != Path(path) and found.name != "HDF5":
        raise InputError(f"{path}: is {found.name}, which holds no datasets; give {file} alone")
    with foreign(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a decoder works around is not the person's business
        return found.open(Path(path), config)


def _open_folder(folder: Path, config: ReadConfig) -> Reader:
    if is_zarr(folder):
        raise InputError(f"{folder}: is already Zarr; use it directly")
    if (folder / "attributes.json").is_file():
        raise FormatError(f"{folder}: is N5, which is not read; convert it with `n5-zarr` or bioformats2raw")
    if (folder / "info").is_file():
        raise FormatError(
            f"{folder}: is a Neuroglancer precomputed volume, which is not read; "
            "convert it with `cloud-volume` to Zarr"
        )
    from unet_batch.formats.dicom import dicom_files, open_dicom_folder  # noqa: PLC0415 - only for folders

    if not dicom_files(folder):
        raise FormatError(f"{folder}: is a folder without DICOM, not an image file; give one file")
    with foreign(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return open_dicom_folder(folder, config)


def _unknown(path: Path, head: bytes) -> FormatError:
    if not head:
        return FormatError(f"{path}: has no bytes; copy it again")
    for name, offset, mark, cure in UNREAD:
        if head[offset:].startswith(mark):
            return FormatError(f"{path}: is {name}, which is not read; {cure}")
    if head.startswith(_GZIP):
        return FormatError(f"{path}: is compressed by gzip; unpack it with `gunzip` first")
    return FormatError(
        f"{path}: none of the formats that are read, by its first bytes; convert it to one of those "
        "that `unet-batch formats` lists"
    )


def _first_bytes(path: Path) -> bytes:
    """The beginning of the file, unpacked where gzip packed it."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            if not head.startswith(_GZIP):
                return head
            packed = head + file.read(8 * HEAD)
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; check the path") from None
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            raise MissingError(f"{path}: no such file; check the path") from None
        raise FormatError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None
    try:
        inside = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed, HEAD)
    except zlib.error:
        return head
    return inside if inside[344:348] in {b"n+1\0", b"ni1\0"} else head

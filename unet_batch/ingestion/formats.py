"""Which reader a file needs, by its first bytes: names lie. And where errors of decoders become ours."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unet_batch.errors import FormatError, InputError, MissingError, UnetBatchError
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.geotiff import has_geo_tags, open_geotiff
from unet_batch.ingestion.optional import has
from unet_batch.ingestion.raster import is_remote
from unet_batch.ingestion.reader import ArrangedReader

ZARR_MARKS = ("zarr.json", ".zarray", ".zgroup")
_HEAD = 16


def open_reader(path: str | Path, config: IngestConfig) -> ArrangedReader:
    """The image of a foreign file.

    Raises:
        MissingError: no such file.
        InputError: a Zarr store, or settings that do not fit the file.
        FormatError: no known format, or damaged.
    """
    if is_remote(path):
        return open_geotiff(path, config)
    path = Path(path)
    head = _first_bytes(path)
    with foreign(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a decoder works around is not the person's business
        if head.startswith(b"\x93NUMPY"):
            from unet_batch.ingestion.numpy_file import open_numpy  # noqa: PLC0415 - each decoder only when needed

            return open_numpy(path, config)
        if head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
            from unet_batch.ingestion.picture import open_picture  # noqa: PLC0415

            return open_picture(path, config)
        if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
            return _open_tiff(path, config)
    raise FormatError(
        f"{path}: neither TIFF, PNG, JPEG nor .npy by its first bytes; convert it to one of them"
    )


def _open_tiff(path: Path, config: IngestConfig) -> ArrangedReader:
    """A TIFF through GDAL where it says where it lies, else through tifffile."""
    from unet_batch.ingestion.tiff import open_tiff  # noqa: PLC0415 - each decoder only when needed

    wanted = config.georeference and config.axes is None and not config.series
    if not wanted or not (config.crs or has_geo_tags(path)):
        return open_tiff(path, config)
    if has("rasterio"):
        return open_geotiff(path, config)
    reader = open_tiff(path, config)
    reader.notes += ("its place on the earth is left out; pip install 'unet-batch[geo]' keeps it",)
    return reader


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
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise FormatError(
            f"{path}: cannot be decoded ({reason}); it is damaged or of an unknown flavour"
        ) from error


def _first_bytes(path: Path) -> bytes:
    if path.is_dir():
        if is_zarr(path):
            raise InputError(f"{path}: is already Zarr; use it directly")
        raise FormatError(f"{path}: is a folder, not an image file; give one file")
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise FormatError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None

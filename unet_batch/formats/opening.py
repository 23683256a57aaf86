"""Which reader a file needs: the one registry of formats, and where errors of decoders become ours.

The first bytes decide, as names lie. `info`, `ingest` and all verbs that read foreign files come here.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name

from unet_batch.errors import FormatError, InputError, MissingError, UnetBatchError, one_line
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.geotiff import open_geotiff
from unet_batch.formats.raster import is_remote
from unet_batch.formats.reader import Reader

ZARR_MARKS = ("zarr.json", ".zarray", ".zgroup")
_HEAD = 16

Opener = Callable[[Path, ReadConfig], Reader]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file and what opens it.

    Attributes:
        name: as people call it.
        suffixes: usual ends of names, in lower case; they find files in a folder and decide nothing else.
        signatures: what a file begins with.
        opener: ``module:function``, an Opener; imported with its decoder when a file needs it.
    """

    name: str
    suffixes: tuple[str, ...]
    signatures: tuple[bytes, ...]
    opener: str

    def open(self, path: Path, config: ReadConfig) -> Reader:
        """A reader of the file."""
        opener: Opener = resolve_name(self.opener)
        return opener(path, config)


TIFF = Format(
    "TIFF",
    (".tif", ".tiff"),
    (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "unet_batch.formats.geotiff:open_placed",
)
FORMATS = (
    TIFF,
    Format("PNG", (".png",), (b"\x89PNG\r\n\x1a\n",), "unet_batch.formats.picture:open_picture"),
    Format("JPEG", (".jpg", ".jpeg"), (b"\xff\xd8\xff",), "unet_batch.formats.picture:open_picture"),
    Format(".npy", (".npy",), (b"\x93NUMPY",), "unet_batch.formats.flat:open_numpy"),
)


def open_reader(path: str | Path, config: ReadConfig) -> Reader:
    """The image of a foreign file, to be closed by the caller.

    Raises:
        MissingError: no such file.
        InputError: a Zarr store, or settings that do not fit the file.
        FormatError: no known format, or damaged.
    """
    if is_remote(path):
        return open_geotiff(path, config)
    path = Path(path)
    head = _first_bytes(path)
    found = next((one for one in FORMATS if head.startswith(one.signatures)), None)
    if found is None:
        *others, last = (one.name for one in FORMATS)
        raise FormatError(
            f"{path}: neither {', '.join(others)} nor {last} by its first bytes; convert it to one of them"
        )
    with foreign(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a decoder works around is not the person's business
        return found.open(path, config)


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
        reason = one_line(error)
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

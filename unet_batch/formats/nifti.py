"""Whether a NIfTI is whole, which ITK does not ask: it reads zeros where a file ends too early."""

import gzip
import zlib
from pathlib import Path

from unet_batch.errors import FormatError

_MOST_HEADER = 2**24
_PART = 2**22


def check_length(path: Path, pixels: int) -> None:
    """Raise FormatError where a NIfTI ends too early; ITK would read zeros there."""
    if path.suffix != ".gz":
        whole = path.suffix != ".nii" or path.stat().st_size >= pixels
    else:
        with path.open("rb") as file:
            file.seek(-4, 2)
            size = int.from_bytes(file.read(), "little")
        whole = pixels <= size <= pixels + _MOST_HEADER or _unpacks(path, pixels)
    if not whole:
        raise FormatError(f"{path}: is cut short, its pixels take {pixels} bytes; copy it again")


def _unpacks(path: Path, least: int) -> bool:
    """Whether all that gzip packed is there; the last bytes alone do not say so of several members."""
    found = 0
    try:
        with gzip.open(path) as file:
            while part := file.read(_PART):
                found += len(part)
    except (EOFError, OSError, zlib.error):
        return False
    return found >= least

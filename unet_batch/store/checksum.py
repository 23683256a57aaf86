"""The checksum of a block's pixels, as they were meant and not as they are encoded."""

from collections.abc import Iterable
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray


def checksum(arrays: Iterable[NDArray[Any]]) -> int:
    """CRC-32C over the pixels of ``arrays`` in turn, little endian, every NaN alike."""
    crc = 0
    for pixels in arrays:
        crc = google_crc32c.extend(crc, _canonical(pixels).reshape(-1).view(np.uint8))
    return int(crc)


def _canonical(pixels: NDArray[Any]) -> NDArray[Any]:
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    if little.dtype.kind != "f":
        return little
    # A chunk of NaNs is not stored but read as fill, with NaN's usual bits; a network may make others.
    nans = np.isnan(little)
    return np.where(nans, little.dtype.type("nan"), little) if nans.any() else little

"""Codec: one tile of pixels as a TIFF stores it. Knows no files."""

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

TAGS = {"none": 1, "lzw": 5, "deflate": 8, "zstd": 50000}
"""Values of the TIFF tag Compression."""

_DEFAULT_LEVELS = {"deflate": 6, "zstd": 9}


def compression_tag(compression: str) -> int:
    """The TIFF tag's value of a setting such as ``deflate:9``."""
    return TAGS[compression.partition(":")[0]]


def encoder(compression: str) -> Callable[[NDArray[Any]], bytes | bytearray]:
    """What compresses the bytes of a tile."""
    name, _, level = compression.partition(":")
    if name == "none":
        return lambda tile: tile.tobytes()
    if name == "lzw":
        return lambda tile: imagecodecs.lzw_encode(tile.tobytes())
    # libdeflate, twice to three times as fast as zlib, writes the same format.
    function = imagecodecs.deflate_encode if name == "deflate" else imagecodecs.zstd_encode
    return lambda tile: function(tile.tobytes(), level=int(level or _DEFAULT_LEVELS[name]))


def tiles_of(pixels: NDArray[Any], tile: int, fill: float) -> list[NDArray[Any]]:
    """(h, w) or (h, w, samples) cut into tiles in raster order, those at the end filled up."""
    height, width = pixels.shape[:2]
    made = []
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            part = pixels[y : y + tile, x : x + tile]
            if part.shape[:2] != (tile, tile):
                whole = np.full((tile, tile, *part.shape[2:]), fill, part.dtype)
                whole[: part.shape[0], : part.shape[1]] = part
                part = whole
            made.append(np.ascontiguousarray(part))
    return made

"""PNG and JPEG through Pillow. Their decoders take the whole picture at once, hence a size limit."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from unet_batch.errors import FormatError, InputError
from unet_batch.formats.choices import require_single
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.geotiff import beside
from unet_batch.formats.photometry import PALETTE_KEPT, kept, orientation_note
from unet_batch.formats.reader import ArrangedReader
from unet_batch.store.bands import Band
from unet_batch.tiling.box import Box

WHOLE_FILE_LIMIT = 2 * 2**30
"""Bytes that a decoded picture may take. Larger ones belong in a tiled TIFF."""

_NAMES = {"RGB": ("red", "green", "blue"), "RGBA": ("red", "green", "blue", "alpha"), "LA": ("grey", "alpha")}
_limit_lock = Lock()
_ORIENTATION = 274


class DecodedPicture:
    """A StoredArray that is held in memory."""

    def __init__(self, pixels: NDArray[Any]) -> None:
        self._pixels = pixels
        self.shape = pixels.shape
        self.dtype = pixels.dtype

    def read(self, box: Box) -> NDArray[Any]:
        """A copy of the box's pixels."""
        return self._pixels[box.slices].copy()

    def close(self) -> None:
        """Let go of the pixels."""
        self._pixels = np.empty((0,) * len(self.shape), self.dtype)


def open_picture(path: Path, config: ReadConfig) -> ArrangedReader:
    """A PNG or JPEG, pixels as stored: no rotation by EXIF, no colour management.

    Raises:
        FormatError: damaged, or larger decoded than WHOLE_FILE_LIMIT.
        InputError: axes that do not fit.
    """
    require_single(str(path), config)
    with _no_bomb_limit(), Pillow.open(path, formats=("PNG", "JPEG")) as picture:
        mode = picture.mode
        notes = orientation_note(picture.getexif().get(_ORIENTATION, 1))
        bands = _palette_band(picture)
        _check_size(path, picture)
        kind = str(picture.format)
        deep = kind == "PNG" and _is_deep_colour(path)
        pixels = imagecodecs.png_decode(path.read_bytes()) if deep else np.asarray(picture)
    axes = "yx" if pixels.ndim == 2 else "yxc"
    if config.axes not in {None, axes}:
        raise InputError(f"{path}: its axes are {axes}, not {config.axes}; leave `axes` out")
    place = beside(path, config)
    notes += {"P": (PALETTE_KEPT,), "CMYK": (kept("CMYK"),)}.get(mode, ())
    facts = replace(
        place,
        kind=kind,
        axes=axes,
        channel_names=_NAMES.get(mode, ()),
        notes=notes + place.notes,
        bands=bands,
    )
    return ArrangedReader(str(path), DecodedPicture(pixels), facts, config)


def _palette_band(picture: Pillow.Image) -> tuple[Band, ...]:
    """The one band of a picture whose pixels are numbers of colours; none for others."""
    colours = picture.getpalette("RGBA") if picture.mode == "P" else None
    if colours is None:
        return ()
    columns = (colours[i::4] for i in range(4))
    return (Band(colour="palette", table=tuple(zip(*columns, strict=True))),)


@contextmanager
def _no_bomb_limit() -> Iterator[None]:
    """Pillow's guard refuses 179 megapixels, a small slide; WHOLE_FILE_LIMIT stands in for it."""
    with _limit_lock:
        kept, Pillow.MAX_IMAGE_PIXELS = Pillow.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Pillow.MAX_IMAGE_PIXELS = kept


def _check_size(path: Path, picture: Pillow.Image) -> None:
    width, height = picture.size
    # Eight bytes: four samples of 16 bits, the widest pixel that PNG has.
    if width * height * 8 > WHOLE_FILE_LIMIT:
        raise FormatError(
            f"{path}: {width} x {height} pixels cannot be decoded in pieces from PNG or JPEG; "
            "convert it to a tiled TIFF first"
        )


def _is_deep_colour(path: Path) -> bool:
    """Whether a PNG's header says 16-bit colour, which Pillow would cut down to 8 bits."""
    with path.open("rb") as file:
        head = file.read(26)
    depth, colour = head[24], head[25]
    return depth == 16 and colour != 0

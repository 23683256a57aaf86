"""Codes: the pixels of a label image as one number each, its value or its colour. Knows no classes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.formats.opening import foreign, is_zarr, open_reader
from unet_batch.formats.probe import probe
from unet_batch.formats.reader import Reader
from unet_batch.ingestion.labels.config import LabelsConfig
from unet_batch.store.image import Image
from unet_batch.tiling import BlockGrid, Box

NO_CODE = -1
"""Of pixels that a file itself leaves out: transparent ones."""
_MOST_CODES = 65_537


Pixels = Reader | Image
"""What is read: a foreign file, or Zarr."""


@contextmanager
def opened(source: Path, config: LabelsConfig) -> Iterator[Pixels]:
    """The label image at ``source``, a foreign file or Zarr.

    Raises:
        MissingError, FormatError, InputError: as for reading it; pixels that are no integers.
    """
    if is_zarr(source):
        image = Image.open(source, axes=config.axes, level=config.level)
        _check(source, image, config)
        yield image
        return
    probe(str(source), config)
    with open_reader(str(source), config) as reader:
        _check(source, reader, config)
        yield reader


def _check(source: Path, pixels: Pixels, config: LabelsConfig) -> None:
    if pixels.dtype.kind not in "iu":
        raise InputError(f"{source}: holds {pixels.dtype}, which are no labels; give an integer image")
    if pixels.channels > 4 or (pixels.channels > 1 and config.instances):
        raise InputError(
            f"{source}: has {pixels.channels} channels; choose the one with the labels by --set "
            "'channels=[0]'"
        )
    if pixels.channels > 1 and pixels.dtype != np.uint8:
        raise InputError(f"{source}: has colours of {pixels.dtype}; save them with 8 bits per channel")


@dataclass(frozen=True, slots=True)
class Codes:
    """Pixels as values, or (``colours``) as red * 65536 + green * 256 + blue.

    Threads share what is open; other processes open their own.
    """

    source: Path
    pixels: Pixels
    config: LabelsConfig

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.source, self.config)

    @property
    def colours(self) -> bool:
        """Whether colours are classes."""
        return bool(self.config.colours)

    def __call__(self, box: Box) -> NDArray[np.int64]:
        """(*box.shape).

        Raises:
            InputError: colours where values are wanted.
        """
        with foreign(self.source):
            stored = self.pixels.read(box)
        alpha = stored[-1] if len(stored) in (2, 4) else None
        wide = stored[:3].astype(np.int64) if len(stored) > 2 else stored[:1].astype(np.int64)
        codes: NDArray[np.int64] = self._packed(wide) if self.colours else self._values(wide)
        if alpha is not None:
            codes[alpha == 0] = NO_CODE
        return codes

    def _packed(self, wide: NDArray[np.int64]) -> NDArray[np.int64]:
        red, green, blue = wide if len(wide) == 3 else (wide[0], wide[0], wide[0])
        return np.asarray(red << 16 | green << 8 | blue)

    def _values(self, wide: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(wide) == 3 and ((coloured := (wide != wide[:1]).any(axis=0)).any()):
            colour = "#" + "".join(f"{v:02x}" for v in wide[:, coloured][:, 0].tolist())
            raise InputError(
                f"{self.source}: its pixels have colours, such as {colour}; say which class each is "
                "with `--colours FILE`, or choose a channel by --set 'channels=[0]'"
            )
        return np.asarray(wide[0])


def _reopened(source: Path, config: LabelsConfig) -> Codes:
    return Codes(source, _pixels(source, config.model_dump_json()), config)


@lru_cache(maxsize=1)
def _pixels(source: Path, settings: str) -> Pixels:
    """What a process reads that does blocks for another."""
    config = LabelsConfig.model_validate_json(settings)
    if is_zarr(source):
        return Image.open(source, axes=config.axes, level=config.level)
    return open_reader(str(source), config)


def found_codes(codes: Codes, blocks: BlockGrid) -> NDArray[np.int64]:
    """All codes of an image, sorted, read block by block.

    Raises:
        InputError: more than any label image has: a photograph.
    """
    found = np.empty(0, np.int64)
    for block in blocks:
        found = np.union1d(found, np.unique(codes(block.box)))
        if len(found) > _MOST_CODES:
            raise InputError(
                f"{codes.source}: has over {_MOST_CODES - 1:,} different pixels and looks like a photograph; "
                "give the mask, or instance numbers with --set instances=true"
            )
    return found

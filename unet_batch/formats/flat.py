"""FlatFile: uncompressed pixels that lie in one run in a file, such as those of NumPy's .npy.

Object arrays are refused: nothing is ever unpickled.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import FormatError
from unet_batch.formats.choices import default_axes, require_single
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.reader import ArrangedReader, Facts
from unet_batch.tiling.box import Box


@dataclass(frozen=True, slots=True)
class FlatFile:
    """A StoredArray over the bytes from ``offset`` on, in C or Fortran order.

    Raises:
        FormatError: the file ends before the pixels do.
    """

    path: Path
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: Literal["C", "F"] = "C"

    def __post_init__(self) -> None:
        need = self.offset + prod(self.shape) * self.dtype.itemsize
        size = self.path.stat().st_size
        if need > size:
            raise FormatError(
                f"{self.path}: cut short, its header promises {need} bytes and it has {size}; copy it again"
            )

    def read(self, box: Box) -> NDArray[Any]:
        """A copy of the box's pixels. Mapped anew each time, so that touched pages never add up."""
        mapped = np.memmap(self.path, self.dtype, "r", self.offset, self.shape, self.order)
        return np.array(mapped[box.slices])

    def close(self) -> None:
        """Nothing stays open between reads."""


def open_numpy(path: Path, config: ReadConfig) -> ArrangedReader:
    """The array of a .npy file; axes are needed beyond two dimensions (yx)."""
    require_single(str(path), config)
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise FormatError(f"{path}: .npy version {version} holds structured data; save a plain array")
        offset = file.tell()
    if dtype.hasobject:
        raise FormatError(f"{path}: holds Python objects, which are never unpickled; save a numeric array")
    if any(n < 0 for n in shape):
        raise FormatError(f"{path}: its header says shape {shape}; save the array again")
    array = FlatFile(path, offset, tuple(shape), dtype, "F" if fortran else "C")
    axes = default_axes(str(path), array.shape, config.axes)
    return ArrangedReader(str(path), array, Facts("NumPy", axes), config)

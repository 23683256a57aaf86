"""FlatFile: uncompressed pixels that lie in one run in a file. Knows neither TIFF nor NumPy headers."""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import FormatError
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

"""NumPy .npy files. Object arrays are refused: nothing is ever unpickled."""

from pathlib import Path

import numpy as np

from unet_batch.errors import FormatError
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.flat import FlatFile
from unet_batch.ingestion.reader import ArrangedReader, Facts, default_axes


def open_numpy(path: Path, config: IngestConfig) -> ArrangedReader:
    """The array of a .npy file; axes are needed beyond two dimensions (yx)."""
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
    axes = default_axes(str(path), len(array.shape), config.axes)
    return ArrangedReader(str(path), array, Facts("NumPy", axes), config.channels)

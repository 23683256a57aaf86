"""Nikon ND2 through the package nd2: positions as series, frames on demand."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import FormatError
from unet_batch.extras import require
from unet_batch.formats.choices import others_note, pick_series
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.planes import Planes
from unet_batch.formats.reader import SAMPLES, ArrangedReader, Facts
from unet_batch.store.units import in_micrometres

_FRAME = "CYXS"
_POSITION = "P"
_LETTERS = {"T": "t", "C": "c", "Z": "z", "Y": "y", "X": "x", "S": SAMPLES}


def open_nd2(path: Path, config: ReadConfig) -> ArrangedReader:
    """One position of an ND2.

    Raises:
        FormatError: damaged, or with axes that are not known.
        InputError: settings that do not fit, or no library.
    """
    require("nd2", "microscopes", f"{path}: ND2")
    import nd2  # noqa: PLC0415 - an optional package

    file = nd2.ND2File(path)
    try:
        return _open(path, file, config)
    except BaseException:
        file.close()
        raise


def _open(path: Path, file: Any, config: ReadConfig) -> ArrangedReader:
    sizes = dict(file.sizes)
    axes = [axis for axis in sizes if axis != _POSITION]
    if unknown := [axis for axis in axes if axis not in _LETTERS]:
        raise FormatError(f"{path}: has the axes {', '.join(unknown)}; export it as TIFF with NIS-Elements")
    told = [f"position {n}" for n in range(sizes.get(_POSITION, 1))]
    number = pick_series(str(path), told, [1] * len(told), config.series)
    outer = [axis for axis in sizes if axis not in _FRAME]
    shape = tuple(sizes[axis] for axis in axes)
    frame = tuple(sizes[axis] for axis in axes if axis in _FRAME)

    def plane(position: tuple[int, ...]) -> NDArray[Any]:
        at = dict(zip((axis for axis in outer if axis != _POSITION), position, strict=True))
        index = (
            np.ravel_multi_index([at.get(axis, number) for axis in outer], [sizes[axis] for axis in outer])
            if outer
            else 0
        )
        return np.asarray(file.read_frame(int(index))).reshape(frame)

    if prod(shape) == 0:
        raise FormatError(f"{path}: holds no pixels; copy it again")
    facts = _facts(file, "".join(_LETTERS[axis] for axis in axes), told, number, config)
    return ArrangedReader(str(path), Planes(shape, file.dtype, len(frame), plane, file.close), facts, config)


def _facts(file: Any, axes: str, told: list[str], number: int, config: ReadConfig) -> Facts:
    voxel = file.voxel_size()
    size = in_micrometres({axis: (float(getattr(voxel, axis)), "µm") for axis in "zyx" if axis in axes})
    listed = getattr(file.metadata, "channels", None) or ()
    names = tuple(str(one.channel.name) for one in listed)
    return Facts(
        kind="Nikon ND2",
        axes=axes,
        channel_names=("red", "green", "blue") if SAMPLES in axes and "c" not in axes else names,
        pixel_size=size.sizes,
        unit=size.unit,
        notes=(others_note(told, number) if config.series is None else ()) + size.notes,
        series=tuple(told) if len(told) > 1 else (),
    )

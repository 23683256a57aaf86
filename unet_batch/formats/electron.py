"""Electron microscopes: DM3, DM4 and SER through RosettaSciIO, MRC through mrcfile; read on demand."""

import logging
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import FormatError
from unet_batch.extras import require
from unet_batch.formats.choices import default_axes, others_note, pick_series, require_single
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.reader import ArrangedReader, Facts
from unet_batch.store.units import in_micrometres
from unet_batch.tiling.box import Box

_STACK = "tczyx"


class LazyArray:
    """A StoredArray over what a library maps from the file."""

    def __init__(self, pixels: Any) -> None:
        self._pixels = pixels
        self.shape, self.dtype = tuple(pixels.shape), np.dtype(pixels.dtype)

    def read(self, box: Box) -> NDArray[Any]:
        """A copy of the box's pixels."""
        return np.array(self._pixels[box.slices])

    def close(self) -> None:
        """Let go of the mapping."""
        self._pixels = None


def open_rosetta(path: Path, config: ReadConfig) -> ArrangedReader:
    """An image or stack of a DM3, DM4 or SER.

    Raises:
        FormatError: damaged, or no image in it.
        InputError: settings that do not fit, or no library.
    """
    require("rsciio", "microscopes", f"{path}: electron microscopy")
    kind = "FEI SER" if path.open("rb").read(2) == b"II" else "Gatan DM"
    images = [one for one in _signals(path, kind) if one["data"].ndim >= 2]
    if not images:
        raise FormatError(f"{path}: holds spectra and no image; give a file with images")
    told = [f"{_title(one)}, {' x '.join(map(str, one['data'].shape))}" for one in images]
    number = pick_series(str(path), told, [prod(one["data"].shape) for one in images], config.series)
    data, steps = images[number]["data"], images[number]["axes"]
    if data.dtype.names:
        data, steps = _colours(data), [*steps, {"scale": 1.0, "units": ""}]
    axes = (
        _STACK[-data.ndim :]
        if config.axes is None and data.ndim != 3
        else default_axes(str(path), data.shape, config.axes or "zyx")
    )
    size = in_micrometres(
        {
            a: (abs(float(s["scale"])), str(s["units"] or ""))
            for a, s in zip(axes, steps, strict=True)
            if a in "zyx"
        }
    )
    facts = Facts(
        kind=kind,
        axes=axes,
        pixel_size=size.sizes,
        unit=size.unit,
        notes=(others_note(told, number) if config.series is None else ()) + size.notes,
        series=tuple(told) if len(told) > 1 else (),
    )
    return ArrangedReader(str(path), LazyArray(data), facts, config)


def _signals(path: Path, kind: str) -> list[dict[str, Any]]:
    logging.getLogger("rsciio").setLevel(logging.CRITICAL)  # what matters is raised
    if kind == "FEI SER":
        from rsciio.tia import file_reader  # noqa: PLC0415 - an optional package
    else:
        from rsciio.digitalmicrograph import file_reader  # noqa: PLC0415 - an optional package
    return list(file_reader(str(path), lazy=True))


def _title(signal: dict[str, Any]) -> str:
    return str((signal.get("metadata", {}).get("General") or {}).get("title") or "image")


def _colours(data: Any) -> NDArray[Any]:
    plain = np.asarray(data)
    return np.stack([plain[name] for name in plain.dtype.names or ()], axis=-1)


def open_mrc(path: Path, config: ReadConfig) -> ArrangedReader:
    """The image, stack or volume of an MRC.

    Raises:
        FormatError: damaged.
        InputError: settings that do not fit, or no library.
    """
    require("mrcfile", "microscopes", f"{path}: MRC")
    import mrcfile  # noqa: PLC0415 - an optional package

    require_single(str(path), config)
    with mrcfile.mmap(path, "r") as file:
        voxel, pixels = file.voxel_size, file.data
        axes = "yx" if pixels.ndim == 2 else "zyx" if pixels.ndim == 3 else None
        axes = default_axes(str(path), pixels.shape, config.axes or axes)
        size = in_micrometres(
            {axis: (float(getattr(voxel, axis)), "angstrom") for axis in "zyx" if axis in axes}
        )
        facts = Facts(kind="MRC", axes=axes, pixel_size=size.sizes, unit=size.unit, notes=size.notes)
        return ArrangedReader(str(path), LazyArray(pixels), facts, config)

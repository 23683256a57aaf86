"""Leica LIF through liffile: its images as series, planes on demand."""

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

_LETTERS = {"T": "t", "C": "c", "Z": "z", "Y": "y", "X": "x", "S": SAMPLES}
_TILES = "M"


def open_lif(path: Path, config: ReadConfig) -> ArrangedReader:
    """One image of a LIF.

    Raises:
        FormatError: damaged, or an image with axes that are not known.
        InputError: settings that do not fit, or no library.
    """
    require("liffile", "microscopes", f"{path}: LIF")
    import liffile  # noqa: PLC0415 - an optional package

    file = liffile.LifFile(path)
    try:
        return _open(path, file, config)
    except BaseException:
        file.close()
        raise


def _open(path: Path, file: Any, config: ReadConfig) -> ArrangedReader:
    images = list(file.images)
    if not images:
        raise FormatError(f"{path}: holds no image; check how it was written")
    told = [f"{one.name}, {' x '.join(map(str, one.shape))}" for one in images]
    number = pick_series(str(path), told, [prod(one.shape) for one in images], config.series)
    image = images[number]
    axes, notes = _axes(path, image)
    size = in_micrometres(_steps(image, axes))
    facts = Facts(
        kind="Leica LIF",
        axes=axes,
        channel_names=_channel_names(image),
        pixel_size=size.sizes,
        unit=size.unit,
        notes=(others_note(told, number) if config.series is None else ()) + notes + size.notes,
        series=tuple(told) if len(told) > 1 else (),
    )
    inner = 3 if image.dims[-1] == "S" else 2

    def plane(position: tuple[int, ...]) -> NDArray[Any]:
        at = dict(zip(image.dims[:-inner], position, strict=True))
        return np.asarray(image.frame(**at))

    return ArrangedReader(
        str(path), Planes(image.shape, image.dtype, inner, plane, file.close), facts, config
    )


def _axes(path: Path, image: Any) -> tuple[str, tuple[str, ...]]:
    """Our letters; a section along z has its z as y, and a scan over y its y as z."""
    letters = [_LETTERS.get(dim, dim) for dim in image.dims]
    notes: tuple[str, ...] = ()
    if letters[-2:] == ["z", "x"]:
        letters = ["z" if one == "y" else "y" if one == "z" else one for one in letters]
        notes = ("is a section along z: its z is taken for y",)
    if not set(letters) <= set(_LETTERS.values()) or len(set(letters)) < len(letters):
        cure = "put its tiles together in LAS X" if _TILES in image.dims else "export it as TIFF with LAS X"
        raise FormatError(f"{path}: image {image.name} has the axes {''.join(image.dims)}; {cure}")
    return "".join(letters), notes


def _steps(image: Any, axes: str) -> dict[str, tuple[float, str | None]]:
    found: dict[str, tuple[float, str | None]] = {}
    for dim, axis in zip(image.dims, axes, strict=True):
        places = image.coords.get(dim)
        if axis in {"z", "y", "x"} and places is not None and len(places) > 1:
            found[axis] = abs(float(places[-1] - places[0])) / (len(places) - 1), "m"
    return found


def _channel_names(image: Any) -> tuple[str, ...]:
    if "C" not in image.dims:
        return ()
    listed = image.xml_element.findall("./Data/Image/ImageDescription/Channels/ChannelDescription")
    return tuple(one.get("LUTName") or str(n) for n, one in enumerate(listed))

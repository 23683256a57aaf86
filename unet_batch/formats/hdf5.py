"""HDF5: one dataset of a file, named as ``FILE:/path`` or the largest."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import FormatError, InputError
from unet_batch.extras import require
from unet_batch.formats.choices import default_axes, others_note, pick_series
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.reader import ArrangedReader, Facts
from unet_batch.store.units import in_micrometres
from unet_batch.tiling.box import Box

_MOST_LISTED = 20
_IMARIS_AXES = "zyx"


def open_hdf5(path: Path, config: ReadConfig) -> ArrangedReader:
    """A dataset of numbers with two axes or more.

    Raises:
        FormatError: damaged, or no such dataset.
        InputError: settings that do not fit, or no library.
    """
    require("h5py", "volumes", f"{path}: HDF5")
    import h5py  # noqa: PLC0415 - an optional package

    name, colon, inside = str(path).partition(":/")
    if config.level:
        raise InputError(f"{path}: levels are datasets of their own; name one as {name}:/PATH")
    file = h5py.File(name, "r")
    try:
        return _open(path, file, f"/{inside}" if colon else None, config)
    except BaseException:
        file.close()
        raise


def _open(path: Path, file: Any, inside: str | None, config: ReadConfig) -> ArrangedReader:
    found = _datasets(file)
    if not found:
        raise FormatError(f"{path}: holds no dataset of numbers with two axes or more")
    told = [f"{one.name}, {' x '.join(map(str, one.shape))}" for one in found]
    if inside is None:
        number = pick_series(str(path), told, [prod(one.shape) for one in found], config.series)
    else:
        number = _named(path, found, inside.rstrip("/"), config)
    dataset = found[number]
    chosen = inside is not None or config.series is not None
    size = in_micrometres(_steps(dataset))
    facts = Facts(
        kind="HDF5",
        axes=_axes(path, dataset, config),
        pixel_size=size.sizes,
        unit=size.unit,
        notes=() if chosen else others_note(told, number),
        series=tuple(told) if len(told) > 1 and inside is None else (),
    )
    return ArrangedReader(str(path), _Dataset(file, dataset), facts, config)


def _datasets(file: Any) -> list[Any]:
    import h5py  # noqa: PLC0415 - an optional package

    found: list[Any] = []

    def look(_: str, one: Any) -> None:
        if isinstance(one, h5py.Dataset) and one.ndim >= 2 and one.dtype.kind in "buif" and prod(one.shape):
            found.append(one)

    file.visititems(look)
    return found


def _named(path: Path, found: list[Any], inside: str, config: ReadConfig) -> int:
    if config.series is not None:
        raise InputError(f"{path}: names its dataset already; leave `series` out")
    names = [one.name for one in found]
    if inside not in names:
        more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
        raise InputError(f"{path}: no image there; the file has {', '.join(names[:_MOST_LISTED])}{more}")
    return names.index(inside)


def _axes(path: Path, dataset: Any, config: ReadConfig) -> str:
    """The setting's, those of its dimension labels, or z y x of a volume whose voxels have a size."""
    labels = "".join(dim.label.lower() for dim in dataset.dims)
    known = labels if len(labels) == dataset.ndim and set(labels) <= set("tczyx") else None
    if known is None and dataset.ndim == 3 and (_steps(dataset) or dataset.name.startswith("/DataSet/")):
        known = _IMARIS_AXES
    return default_axes(str(path), dataset.shape, config.axes or known)


def _steps(dataset: Any) -> dict[str, tuple[float, str | None]]:
    """Voxel extents as Fiji's and ilastik's HDF5 plugins write them, in micrometres."""
    sizes = dataset.attrs.get("element_size_um")
    if sizes is None or len(np.atleast_1d(sizes)) != 3:
        return {}
    return {axis: (float(size), "µm") for axis, size in zip("zyx", np.atleast_1d(sizes), strict=True)}


class _Dataset:
    """A StoredArray over a dataset; HDF5 itself lets one thread in at a time."""

    def __init__(self, file: Any, dataset: Any) -> None:
        self._file, self._dataset = file, dataset
        self.shape, self.dtype = tuple(dataset.shape), np.dtype(dataset.dtype)

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of the box."""
        return np.asarray(self._dataset[box.slices])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

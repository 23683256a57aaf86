"""Masks as an xarray array: lazily read, with classes, coordinates and the size of a pixel.

>>> masks = open_masks("masks.zarr")
>>> masks.dims, masks.attrs["classes"]
(('y', 'x'), ['a', 'b', 'c'])
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.calls import checked
from unet_batch.errors import InputError
from unet_batch.extras import needed
from unet_batch.schedule.arrays import as_dask
from unet_batch.store.arrays import Array
from unet_batch.store.layer import Layer
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import LABELS
from unet_batch.tiling import Box

if TYPE_CHECKING:
    import xarray


@checked
def open_masks(path: str | Path, *, level: int = 0, layer: str = LABELS) -> "xarray.DataArray":
    """The mask store at ``path`` as an xarray array over Dask: pixels are read when they are asked for.

    Its axes are those of the store. Coordinates are the centres of pixels: on the map where the masks have a
    place on the earth, else in ``attrs["unit"]`` (0 is the centre of the first pixel of level 0), else
    pixels of level 0. Of multilabel masks, values and probabilities ``c`` has the classes' names.

    Args:
        path: mask store, also one that a run is writing, or a store of objects.
        level: of the pyramid; each has half the pixels along y and x.
        layer: ``labels``, or ``probabilities`` or ``confidence`` where the store has them.

    Returns:
        The array. ``attrs``: ``classes``, ``kind``, ``nodata`` (the value of pixels without data),
        ``level``, and where known ``pixel_size`` (by axis, of this level), ``unit`` and ``crs``.

    Raises:
        MissingError, FormatError: no mask store there.
        InputError: no such level or layer, or xarray is not installed.
    """
    with needed("products", "open_masks"):
        import xarray  # noqa: PLC0415 - an extra

    masks = Masks.open(path)
    if layer not in masks.layers:
        raise InputError(f"{path}: has no layer {layer!r}; choose among {', '.join(masks.layers)}")
    found = masks.layers[layer]
    if not 0 <= level < len(found.levels):
        raise InputError(f"{path}: has no level {level}; its levels are 0 to {len(found.levels) - 1}")
    array = found.levels[level]
    coordinates = _coordinates(masks, found, level)
    if "c" in found.layout.axes and found.layout.channels == len(masks.layout.names):
        coordinates["c"] = list(masks.layout.names)
    pixels = as_dask(_Stored(array), array.shard)
    return xarray.DataArray(
        pixels, dims=tuple(found.layout.axes), coords=coordinates, attrs=_attributes(masks, found, level)
    )


@dataclass(frozen=True, slots=True)
class _Stored:
    """An array of a store as Dask slices one."""

    array: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return len(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """What numpy gives for slices, numbers and one list; only the box around it is read."""
        keys = key if isinstance(key, tuple) else (key,)
        whole = (*keys, *(slice(None),) * (self.ndim - len(keys)))
        wanted = [np.arange(n)[one] for one, n in zip(whole, self.shape, strict=True)]
        if any(np.size(one) == 0 for one in wanted):
            return np.empty([np.size(one) for one in wanted if np.ndim(one)], self.dtype)
        low, high = [int(np.min(one)) for one in wanted], [int(np.max(one)) + 1 for one in wanted]
        pixels = self.array.read(Box(tuple(low), tuple(high)))
        for axis in reversed(range(self.ndim)):
            pixels = pixels[(*(slice(None),) * axis, wanted[axis] - low[axis])]
        return np.asarray(pixels)


def _coordinates(masks: Masks, layer: Layer, level: int) -> dict[str, Any]:
    """Centres of the pixels of ``level`` along every axis but c; none on a map that is turned."""
    axes, found = masks.layout.axes, {}
    for axis, factor, count in zip(
        axes, layer.layout.factor(level), layer.layout.shape_at(level), strict=True
    ):
        found[axis] = (np.arange(count) + 0.5) * factor - 0.5  # in pixels of level 0
    if masks.georef is None:
        return {axis: place * masks.layout.pixel_size.get(axis, 1.0) for axis, place in found.items()}
    a, b, c, d, e, f = masks.georef.transform
    if b or d:
        return {axis: place for axis, place in found.items() if axis not in "yx"}
    return {**found, "x": a * (found["x"] + 0.5) + c, "y": e * (found["y"] + 0.5) + f}


def _attributes(masks: Masks, layer: Layer, level: int) -> dict[str, Any]:
    layout, factors = masks.layout, dict(zip(masks.layout.axes, layer.layout.factor(level), strict=True))
    sizes = masks.georef.pixel_size if masks.georef is not None else layout.pixel_size
    told = {
        "pixel_size": {axis: size * factors[axis] for axis, size in sizes.items()} or None,
        "unit": layout.unit if masks.georef is None else None,
        "crs": None if masks.georef is None else masks.georef.crs,
    }
    known = {key: value for key, value in told.items() if value is not None}
    nodata = layer.layout.fill
    return {"classes": list(layout.names), "kind": layout.kind, "nodata": nodata, "level": level, **known}

"""What of an image is looked at: a level of its pyramid, and how an image is opened to be the same again."""

from dataclasses import dataclass
from typing import Any

from unet_batch.errors import InputError
from unet_batch.store.pixel_array import PixelArray

Ratio = tuple[float, float]
"""Pixels of a level for each of what it is resampled to, along y and x."""


@dataclass(frozen=True, slots=True)
class Level:
    """One level: its path in the store, its shape and its pixel extent over level 0's, both without c."""

    path: str
    shape: tuple[int, ...]
    factor: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class View:
    """How an image was opened, beside its path and level; None: as it is.

    Attributes:
        axes: of a plain array or a file that names none, as given.
        series: which image of a file.
        resample: to larger or smaller pixels.
    """

    axes: str | None = None
    series: int | None = None
    resample: Ratio | None = None


AS_IS = View()


def check_axes(array: PixelArray, axes: str) -> None:
    """Raise InputError where letters do not fit an array."""
    if len(axes) != len(array.shape):
        raise InputError(f"{array.path}: {len(array.shape)} axes, but axes `{axes}` names {len(axes)}")
    if len(set(axes)) != len(axes) or not {"y", "x"} <= set(axes) <= set("tczyx"):
        raise InputError(f"{array.path}: axes `{axes}` must be among t, c, z, y, x, each once, with y and x")


def without_channels(values: tuple[Any, ...], axes: str) -> tuple[Any, ...]:
    """Values of all axes but c."""
    return tuple(value for value, axis in zip(values, axes, strict=True) if axis != "c")

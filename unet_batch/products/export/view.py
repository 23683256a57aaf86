"""Views: what of a mask store (``View``) or an image (``ImageView``) is exported, plane by plane."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.store import ome
from unet_batch.store.bands import Band
from unet_batch.store.georef import GeoReference
from unet_batch.store.image import Image
from unet_batch.store.layer import Halve
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import LABELS
from unet_batch.store.nodata import first_of
from unet_batch.store.pyramid import halve_labels, halve_mean
from unet_batch.store.units import length
from unet_batch.tiling import Box, ceil_div

Colours = tuple[tuple[int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class View:
    """A layer of a mask store, cut into planes of the axes y and x.

    Args:
        masks: the store.
        layer: which of its layers.
        chosen: index of the one plane, for each axis before y; None takes all planes.
    """

    masks: Masks
    layer: str = LABELS
    chosen: tuple[int, ...] | None = None

    @classmethod
    def open(cls, path: str, layer: str = LABELS, plane: Mapping[str, int] | None = None) -> "View":
        """The view of the store at ``path``; of one plane, or of all where ``plane`` is None.

        Raises:
            MissingError, FormatError: no mask store there.
            InputError: an unfinished store, or a layer or plane that it does not have.
        """
        masks = Masks.open(path)
        if "plan" in masks.attributes and not masks.attributes.get("finished"):
            raise InputError(f"{path}: is not finished; run its `unet-batch predict` again, then export it")
        if layer not in masks.layers:
            raise InputError(f"{path}: has no layer {layer}; choose among {', '.join(masks.layers)}")
        layout = masks.layout
        chosen = None if plane is None else chosen_plane(path, layout.axes, layout.shape, plane)
        return cls(masks, layer, chosen)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width at level 0."""
        height, width = self.masks.layout.shape[-2:]
        return height, width

    @property
    def path(self) -> str:
        """Of the store."""
        return self.masks.path

    @property
    def outer(self) -> tuple[int, ...]:
        """Extent of the axes before y that are exported."""
        return self.masks.layout.shape[:-2] if self.chosen is None else ()

    @property
    def planes(self) -> int:
        """Number of planes."""
        return prod(self.outer)

    @property
    def channels(self) -> int:
        """Channels of a plane."""
        return self.masks.layout.layer(self.layer).channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return np.dtype(self.masks.layout.layer(self.layer).dtype)

    @property
    def fill(self) -> float:
        """Value of a pixel without data."""
        return self.masks.layout.layer(self.layer).fill

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the values, where they are classes."""
        layout = self.masks.layout
        return layout.names if self.layer == LABELS and layout.kind == "multiclass" else None

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the channels."""
        return (self.layer,) if self.channels == 1 and self.classes else self.masks.layout.names

    @property
    def meanings(self) -> tuple[Band, ...]:
        """What the numbers of the channels mean; nothing more than their names say."""
        return ()

    @property
    def colours(self) -> Colours:
        """A colour per class."""
        return self.masks.layout.colours or ome.class_colours(self.masks.layout.names)

    @property
    def georef(self) -> GeoReference | None:
        """Where level 0 lies on the earth."""
        return self.masks.georef

    @property
    def micrometres(self) -> dict[str, float] | None:
        """Extent of a pixel along z, y and x in micrometres; None where it is not known."""
        layout = self.masks.layout
        unit = length(layout.unit)
        if unit is None or not {"y", "x"} <= set(layout.pixel_size):
            return None
        return {
            axis: layout.pixel_size[axis] * unit.micrometres for axis in "zyx" if axis in layout.pixel_size
        }

    @property
    def stored_levels(self) -> int:
        """How many levels, from 0 on, can be read; where z is halved, too, they are none of a plane."""
        layout = self.masks.layout
        return layout.layer(self.layer).level_count if layout.dims == 2 else 1

    @property
    def halve(self) -> Halve:
        """(C, h, w) to the level above: classes by mode, values by mean."""
        if self.layer == LABELS and self.masks.layout.kind != "regression":
            return partial(halve_labels, axes=(-2, -1), fill=int(self.fill))
        return partial(halve_mean, axes=(-2, -1), nodata=self.fill)

    def shape_at(self, level: int) -> tuple[int, int]:
        """Height and width at a level."""
        height, width = self.shape
        return ceil_div(height, 1 << level), ceil_div(width, 1 << level)

    def read(self, box: Box, level: int = 0, plane: int = 0, layer: str | None = None) -> NDArray[Any]:
        """(C, h, w) of a plane's ``box`` in the pixels of a stored ``level``."""
        index = self.chosen if self.chosen is not None else self.index(plane)
        whole = Box((*index, *box.start), (*(i + 1 for i in index), *box.stop))
        pixels = self.masks.read(whole, level, layer or self.layer)
        return pixels.reshape(len(pixels), *box.shape)

    def index(self, plane: int) -> tuple[int, ...]:
        """Index of a plane along the axes before y."""
        return tuple(int(i) for i in np.unravel_index(plane, self.outer)) if self.outer else ()


def chosen_plane(
    path: str, all_axes: str, whole: tuple[int, ...], plane: Mapping[str, int]
) -> tuple[int, ...]:
    """The index of ``plane`` along the axes before y; those of one pixel need not be named.

    Raises:
        InputError: a plane that is not there, or more than one.
    """
    axes, shape = all_axes[:-2], whole[:-2]
    for axis in plane:
        if axis not in axes:
            raise InputError(f"{path}: has no axis {axis} to choose a plane by; axes {all_axes}")
    chosen = []
    for axis, extent in zip(axes, shape, strict=True):
        if extent > 1 and axis not in plane:
            raise InputError(
                f"{path}: has {extent} planes along {axis}; choose one with --set plane.{axis}=0, "
                "or export masks to OME-TIFF"
            )
        if plane.get(axis, 0) >= extent:
            raise InputError(f"{path}: no plane {plane[axis]} along {axis}; choose 0 to {extent - 1}")
        chosen.append(plane.get(axis, 0))
    return tuple(chosen)


@dataclass(frozen=True, slots=True)
class ImageView:
    """One plane of an image with all its channels.

    Args:
        image: the image, at level 0.
        chosen: index of the plane, for each axis before y.
    """

    image: Image
    chosen: tuple[int, ...]

    @classmethod
    def open(cls, path: str, plane: Mapping[str, int]) -> "ImageView":
        """The view of the image at ``path``.

        Raises:
            MissingError, FormatError: no image there, or a mosaic that is not finished.
            InputError: a plane that it does not have.
        """
        image = Image.open(path)
        return cls(image, chosen_plane(path, image.axes.replace("c", ""), image.shape, plane))

    @property
    def path(self) -> str:
        """Of the store."""
        return self.image.path

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width at level 0."""
        height, width = self.image.shape[-2:]
        return height, width

    @property
    def planes(self) -> int:
        """Number of planes."""
        return 1

    @property
    def channels(self) -> int:
        """Channels of the plane."""
        return self.image.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels."""
        return self.image.dtype

    @property
    def fill(self) -> float | None:
        """Value of a pixel without data; None where there is none."""
        return first_of(self.image.nodata)

    @property
    def classes(self) -> None:
        """Values are no classes."""
        return

    @property
    def colours(self) -> Colours:
        """A colour per value, where pixels are numbers of colours."""
        return self.image.bands[0].table if self.channels == len(self.image.bands) == 1 else ()

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the channels."""
        return self.image.channel_names or tuple(f"band {i + 1}" for i in range(self.channels))

    @property
    def meanings(self) -> tuple[Band, ...]:
        """What the numbers of the channels mean; empty where this is not known."""
        return self.image.bands

    @property
    def georef(self) -> GeoReference | None:
        """Where level 0 lies on the earth."""
        return self.image.georef

    @property
    def micrometres(self) -> None:
        """A GeoTIFF of an image tells no size but that of its place."""
        return

    @property
    def stored_levels(self) -> int:
        """How many levels, from 0 on, are halves of the one before along y and x alone."""
        leading = (1.0,) * (len(self.image.shape) - 2)
        wanted = ((*leading, 2.0**k, 2.0**k) for k in range(len(self.image.levels)))
        fitting = [level.factor == factor for level, factor in zip(self.image.levels, wanted, strict=True)]
        return fitting.index(False) if False in fitting else len(fitting)

    @property
    def halve(self) -> Halve:
        """(C, h, w) to the level above, by the mean of what is data."""
        return partial(halve_mean, axes=(-2, -1), nodata=self.image.nodata)

    def read(self, box: Box, level: int = 0, plane: int = 0) -> NDArray[Any]:
        """(C, h, w) of ``box`` in the pixels of a stored ``level``."""
        del plane
        whole = Box((*self.chosen, *box.start), (*(i + 1 for i in self.chosen), *box.stop))
        pixels = self.image.at_level(level).read(whole)
        return pixels.reshape(len(pixels), *box.shape)


Source: TypeAlias = View | ImageView

"""ImageView: what of an image is exported, as planes of pixels with channels; bit for bit. Writes nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.products.export.view import chosen_plane
from unet_batch.store.bands import Band
from unet_batch.store.georef import GeoReference
from unet_batch.store.image import Image
from unet_batch.store.layer import Halve
from unet_batch.store.nodata import first_of
from unet_batch.store.pyramid import halve_mean
from unet_batch.tiling.box import Box


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
    def colours(self) -> tuple[()]:
        """Of no classes."""
        return ()

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

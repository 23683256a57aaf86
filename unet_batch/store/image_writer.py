"""Writing an Image: OME-Zarr 0.5 with its pyramid, block by block. Used by ingest; reads nothing foreign."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.store import ome
from unet_batch.store.group import refuse_occupied, write_group
from unet_batch.store.layer import Halve, Layer
from unet_batch.store.layout import PyramidLayout
from unet_batch.store.pyramid import halve_mean
from unet_batch.tiling.box import Box


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """A new image: pixels, pixel size per axis, names of the channels, value of pixels without data.

    ``attributes`` are kept beside the OME metadata, for provenance.
    """

    pyramid: PyramidLayout
    pixel_size: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    channel_names: tuple[str, ...] = ()
    nodata: float | None = None
    name: str = "image"
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageWriter:
    """Writes blocks from any number of threads or processes; each block is one shard per level.

    The store becomes an image for readers with ``finish``.
    """

    path: str
    layout: ImageLayout
    layer: Layer

    @classmethod
    def create(cls, path: str | Path, layout: ImageLayout) -> "ImageWriter":
        """A new store at ``path``; what an interrupted one left there is replaced.

        Raises:
            OutputError: something finished is there already, or the place cannot be written.
        """
        refuse_occupied(str(path))
        return cls(str(path), layout, Layer.create(str(path), layout.pyramid))

    def write_block(self, box: Box, data: NDArray[Any]) -> None:
        """Write (C, *box.shape) of one block, clipped to the shape, and its part of the one-pass levels."""
        self.layer.write_block(box, self.layer.halved(data, self._halve))

    def finish(self) -> None:
        """Write the coarse levels from the fine ones, then the metadata. May be repeated."""
        self.layer.fill_coarse(self._halve)
        self.layer.clean_scratch()
        write_group(self.path, self._metadata())

    @property
    def _halve(self) -> Halve:
        pyramid = self.layout.pyramid
        return partial(halve_mean, axes=range(-pyramid.dims, 0), nodata=self.layout.nodata)

    def _metadata(self) -> dict[str, Any]:
        pyramid = self.layout.pyramid
        spatial = pyramid.axes.replace("c", "")
        factors = [dict(zip(spatial, pyramid.factor(k), strict=True)) for k in range(pyramid.level_count)]
        entry = ome.multiscales(
            self.layout.name, pyramid.axes, self.layout.pixel_size, self.layout.unit, factors
        )
        names = self.layout.channel_names or tuple(str(i) for i in range(pyramid.channels))
        low, high = display_range(np.dtype(pyramid.dtype))
        entry["omero"] = ome.omero(names, ome.channel_colours(len(names)), low, high)
        own: dict[str, Any] = (
            {} if self.layout.nodata is None else {"nodata": json_number(self.layout.nodata)}
        )
        place = pyramid.group_attributes("average")
        return {**self.layout.attributes, **place, "ome": entry, "unet_batch": own}


def display_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """What a viewer shows as black and white."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return float(limits.min), float(limits.max)
    return 0.0, 1.0


def json_number(value: float) -> float | str:
    """A number as strict JSON has it: NaN as text."""
    return "NaN" if np.isnan(value) else value

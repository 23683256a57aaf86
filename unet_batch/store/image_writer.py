"""Writing an Image: OME-Zarr 0.5 with its pyramid, block by block. Used by ingest; reads nothing foreign."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import xor
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unet_batch.atomic import sweep
from unet_batch.store import bands, ome
from unet_batch.store.bands import Band
from unet_batch.store.checksum import checksum
from unet_batch.store.group import refuse_occupied, write_group
from unet_batch.store.layer import Halve, Layer
from unet_batch.store.layout import PyramidLayout
from unet_batch.store.ledger import Ledger
from unet_batch.store.nodata import Nodata, to_json, with_nan
from unet_batch.store.presence import lost_blocks
from unet_batch.store.pyramid import halve_max, halve_mean
from unet_batch.tiling import BlockGrid
from unet_batch.tiling.box import Box


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """A new image: pixels, pixel size per axis, names of the channels, values of pixels without data.

    ``attributes`` are kept beside the OME metadata, for provenance.

    Attributes:
        bands: what the numbers of the channels mean.
        nodata_mask: array of this shape inside the store, 0 where there is no data, such as ``count``.
        halving: how coarser levels are made; counts by ``max``, so that 0 stays 0.
        source: what the foreign file said beside its pixels, by topic.
    """

    pyramid: PyramidLayout
    pixel_size: Mapping[str, float] = field(default_factory=dict)
    unit: str | None = None
    channel_names: tuple[str, ...] = ()
    nodata: Nodata = None
    name: str = "image"
    attributes: Mapping[str, Any] = field(default_factory=dict)
    bands: tuple[Band, ...] = ()
    nodata_mask: str | None = None
    halving: Literal["mean", "max"] = "mean"
    source: Mapping[str, Any] = field(default_factory=dict)


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
        """A new store at ``path``; arrays without pixels that an interrupted one left are replaced.

        Raises:
            OutputError: an image or pixels are there already, or the place cannot be written.
        """
        refuse_occupied(str(path))
        return cls(str(path), layout, Layer.create(str(path), layout.pyramid))

    @classmethod
    def open(cls, path: str | Path, layout: ImageLayout) -> "ImageWriter":
        """The unfinished store that ``create`` made with this layout, for another process or run.

        Raises:
            MissingError, FormatError: no such arrays there.
        """
        return cls(str(path), layout, Layer.open(str(path), layout.pyramid, writable=True))

    def write_block(self, box: Box, data: NDArray[Any]) -> int:
        """Write (C, *box.shape) of one block, clipped to the shape, and its part of the one-pass levels.

        Returns the checksum of all that was written.
        """
        levels = self.layer.halved(data, self._halve)
        self.layer.write_block(box, levels)
        return checksum(levels)

    def block_checksum(self, box: Box) -> int:
        """The checksum of what is stored of a block, to compare with what ``write_block`` returned.

        Raises:
            DamageError: stored data that fails its own checksum.
        """
        return checksum(self.layer.read_block(box))

    def clean_scratch(self) -> None:
        """Remove what killed writers left; only while nobody writes."""
        self.layer.clean_scratch()
        sweep(Path(self.path))

    def finish(self) -> None:
        """Write the coarse levels from the fine ones, then the metadata. May be repeated."""
        self.layer.fill_coarse(self._halve)
        self.clean_scratch()
        write_group(self.path, self._metadata())

    @property
    def _halve(self) -> Halve:
        pyramid = self.layout.pyramid
        if self.layout.halving == "max":
            return partial(halve_max, axes=range(-pyramid.dims, 0))
        return partial(halve_mean, axes=range(-pyramid.dims, 0), nodata=self._nodata)

    @property
    def _nodata(self) -> Nodata:
        return with_nan(self.layout.nodata, np.dtype(self.layout.pyramid.dtype))

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
        place = pyramid.group_attributes("average" if self.layout.halving == "mean" else "max")
        return {**self.layout.attributes, **place, "ome": entry, "unet_batch": self._own()}

    def _own(self) -> dict[str, Any]:
        layout = self.layout
        own: dict[str, Any] = {"exact_levels": True}
        if self._nodata is not None:
            own["nodata"] = to_json(self._nodata)
        if layout.nodata_mask is not None:
            own["nodata_mask"] = layout.nodata_mask
        if layout.bands:
            own["bands"] = bands.to_json(layout.bands)
        if layout.source:
            own["source"] = dict(layout.source)
        return own


def lost_of(writers: Sequence[ImageWriter], blocks: BlockGrid, ledger: Ledger) -> list[tuple[int, ...]]:
    """Grid indices of blocks that ``ledger`` calls done, and of which a file of one of the stores is gone.

    The ledger's checksums are those of all stores together, by exclusive or.
    """

    def stored(index: tuple[int, ...]) -> int:
        return reduce(xor, (one.block_checksum(blocks.box(index)) for one in writers))

    return lost_blocks([one.layer for one in writers], ledger, stored)


def display_range(dtype: np.dtype[Any]) -> tuple[float, float]:
    """What a viewer shows as black and white."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return float(limits.min), float(limits.max)
    return 0.0, 1.0

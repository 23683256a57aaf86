"""`open_sources`: the stores that a DataConfig names become regions, checked before anything is learnt.

Pixels are read later, by the regions. Here the labels of each box are read once, to count them, and the
pixels of the training boxes where their mean and standard deviation are to normalise them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.models.spec import MeanStd, ModelSpec
from unet_batch.store.cache import ChunkCache
from unet_batch.store.nodata import Nodata, is_missing
from unet_batch.tiling import BlockGrid, Box, ceil_div
from unet_batch.training.data.config import DataConfig, Ranges
from unet_batch.training.data.labels import LabelForm
from unet_batch.training.data.occupancy import Occupancy, Progress, count_regions
from unet_batch.training.data.opening import Opener
from unet_batch.training.data.region import Region, Stores, named

# Pixels per region and channel that are read in all: of larger regions, evenly spaced pieces of a megapixel.
_MOST_PIXELS = 2**26
_PIECE_PIXELS = 2**20


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum and sum of squared distances from the mean, per channel; mergeable (Chan et al. 1979)."""

    count: NDArray[np.float64]
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, pixels: NDArray[Any], nodata: Nodata) -> "Moments":
        """Moments of (C, *box) pixels that are data."""
        rows = [_data(channel, nodata) for channel in pixels]
        count = np.array([row.size for row in rows], np.float64)
        mean = np.array([row.mean() if row.size else 0.0 for row in rows])
        squares = np.array([((row - m) ** 2).sum() for row, m in zip(rows, mean, strict=True)])
        return cls(count, mean, squares)

    def __add__(self, other: "Moments") -> "Moments":
        count = self.count + other.count
        share = np.divide(other.count, count, out=np.zeros_like(count), where=count > 0)
        apart = other.mean - self.mean
        squares = self.squares + other.squares + apart**2 * self.count * share
        return Moments(count, self.mean + apart * share, squares)


def measure_normalisation(spec: ModelSpec, regions: Sequence[Region]) -> ModelSpec:
    """``spec`` with the mean and standard deviation of each channel over ``regions`` as its normalisation.

    Streamed; the same stores give the same values. Pixels without data (nodata, NaN) are left out.

    Raises:
        InputError: a channel without data.
    """
    total = Moments(*(np.zeros(spec.in_channels) for _ in range(3)))
    for region in regions:
        for piece in _pieces(region.box):
            total += Moments.of(
                region.stores.pixels.image.read(piece, region.stores.pixels.channels),
                region.stores.image.nodata,
            )
    for channel in np.flatnonzero(total.count == 0):
        raise InputError(
            f"{regions[0].stores.image.path}: channel {channel} has no data in the training boxes; move them"
        )
    std = np.sqrt(total.squares / total.count)
    std[std == 0] = 1  # a constant channel is shifted only
    normalisation = MeanStd(mean=tuple(total.mean.tolist()), std=tuple(std.tolist()))
    return spec.model_copy(update={"normalisation": normalisation})


def _pieces(box: Box) -> Iterator[Box]:
    """Evenly spaced boxes of about a megapixel; all of them where the region is small enough."""
    grid = BlockGrid(box.shape, _step(box.shape))
    return (piece.shift(box.start) for piece in grid.spaced(_MOST_PIXELS // _PIECE_PIXELS))


def _step(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Extent of a piece: whole rows of the last axes, as cubic as the region allows."""
    step = list(shape)
    while math.prod(step) > _PIECE_PIXELS:
        longest = max(range(len(step)), key=step.__getitem__)
        step[longest] = ceil_div(step[longest], 2)
    return tuple(step)


def _data(values: NDArray[Any], nodata: Nodata) -> NDArray[np.float64]:
    flat = values.reshape(-1)
    if nodata is not None:
        flat = flat[~is_missing(flat, nodata)]
    if flat.dtype.kind == "f":
        flat = flat[np.isfinite(flat)]
    return flat.astype(np.float64)


Part = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Sources:
    """What there is to learn from, to choose on and to judge on.

    ``spec`` is the model's, with the normalisation that was measured; ``occupancy`` tells where in the
    training regions which classes lie; ``found`` are the pixels of every class, and with any label, by part.
    """

    spec: ModelSpec
    form: LabelForm
    train: tuple[Region, ...]
    validation: tuple[Region, ...]
    test: tuple[Region, ...]
    occupancy: Occupancy
    found: Mapping[Part, NDArray[np.int64]]

    @property
    def counts(self) -> dict[str, int]:
        """Pixels of each class (multilabel: of each channel's 1) in the training regions."""
        return self.counts_of("train")

    def counts_of(self, part: Part) -> dict[str, int]:
        """Pixels of each class in the regions of ``part``."""
        return {name: int(n) for name, n in zip(self.form.names, self.found[part], strict=False)}


def open_sources(
    config: DataConfig, spec: ModelSpec, folder: Path | None = None, progress: Progress | None = None
) -> Sources:
    """Open all stores, check them, index the labels of every box and measure the normalisation.

    Args:
        config: what to open.
        spec: the network; where its normalisation is ``none`` and ``config.measure`` is set, mean and std
            of the training boxes take its place in ``Sources.spec``.
        folder: where the index of the labels is kept; None counts anew every time.
        progress: called with pixels indexed and pixels in all.

    Raises:
        MissingError, FormatError: no such store.
        InputError: labels of another grid than their image, a class past the list, a box outside its image
            or without a labelled pixel, channels or labels that do not fit the network.
    """
    opener = Opener(config, spec, ChunkCache(config.cache_mb * 2**20))
    stores = [opener.open(source) for source in config.sources]
    numbers = count()
    regions: dict[Part, tuple[Region, ...]] = {
        part: tuple(Region(one, box, next(numbers)) for one, box in _boxes(config, stores, part))
        for part in get_args(Part)
    }
    train = regions["train"]
    cells = count_regions([one for part in regions.values() for one in part], spec.dims, folder, progress)
    if config.measure and spec.normalisation == "none":
        spec = measure_normalisation(spec, train)
    occupancy = Occupancy.of(cells[: len(train)], [region.stores.repeat for region in train])
    counted = iter(cells)
    found = {
        part: sum((next(counted).counts.sum(axis=0) for _ in own), np.zeros(len(spec.classes) + 1, np.int64))
        for part, own in regions.items()
    }
    return Sources(spec, LabelForm.of(spec), **regions, occupancy=occupancy, found=found)


def _boxes(config: DataConfig, stores: list[Stores], part: str) -> Iterator[tuple[Stores, Box]]:
    for one, source in zip(stores, config.sources, strict=True):
        for ranges in getattr(source, part):
            yield one, _box(one, ranges, part)


def _box(stores: Stores, ranges: Ranges, part: str) -> Box:
    """The box that ``ranges`` mean; axes that are null or left out are whole."""
    image = stores.image
    axes = image.axes.replace("c", "")
    if len(ranges) > len(axes):
        raise InputError(
            f"{image.path}: a {part} box has {len(ranges)} ranges, the image axes {axes}; give one per axis"
        )
    pairs = [
        (0, n) if pair is None else pair
        for pair, n in zip([*ranges, *[None] * (len(axes) - len(ranges))], image.shape, strict=True)
    ]
    box = Box(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))
    if not Box.of_shape(image.shape).contains(box):
        raise InputError(
            f"{named(image.path, box)}: this {part} box reaches past the image {image.shape}, {axes}; mend it"
        )
    return box

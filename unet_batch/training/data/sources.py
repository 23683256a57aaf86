"""`open_sources`: the stores that a DataConfig names become regions, checked before anything is learnt.

Pixels are read later, by the regions; of the labels, each box is read once here, to index them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from unet_batch.errors import InputError
from unet_batch.models.spec import ModelSpec
from unet_batch.store.cache import ChunkCache
from unet_batch.tiling.box import Box
from unet_batch.training.data.config import DataConfig, Ranges
from unet_batch.training.data.form import LabelForm
from unet_batch.training.data.index import Progress, index
from unet_batch.training.data.occupancy import Occupancy
from unet_batch.training.data.opening import Opener
from unet_batch.training.data.region import Region, Stores, named
from unet_batch.training.data.statistics import measured

Part = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Sources:
    """What there is to learn from, to choose on and to judge on.

    ``spec`` is the model's, with the normalisation that was measured; ``occupancy`` tells where in the
    training regions which classes lie.
    """

    spec: ModelSpec
    form: LabelForm
    train: tuple[Region, ...]
    validation: tuple[Region, ...]
    test: tuple[Region, ...]
    occupancy: Occupancy

    @property
    def counts(self) -> dict[str, int]:
        """Pixels of each class (multilabel: of each channel's 1) in the training regions."""
        return dict(zip(self.form.names, self.occupancy.totals, strict=True))


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
    train, validation, test = (
        tuple(Region(one, box, next(numbers)) for one, box in _boxes(config, stores, part))
        for part in ("train", "validation", "test")
    )
    cells = index([*train, *validation, *test], spec.dims, folder, progress)
    if config.measure and spec.normalisation == "none":
        spec = measured(spec, train)
    occupancy = Occupancy.of(cells[: len(train)], [region.stores.repeat for region in train])
    return Sources(spec, LabelForm.of(spec), train, validation, test, occupancy)


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

"""Region: a box of one image to learn from or to be evaluated on, and the sources that it reads."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.models.normalise import Affine, affine_for
from unet_batch.models.spec import ModelSpec
from unet_batch.store.cache import ChunkCache
from unet_batch.store.image import Image
from unet_batch.tiling import BlockGrid, Box, border
from unet_batch.tiling.border import Source
from unet_batch.training.data.labels import LabelForm

Rule = Callable[[NDArray[Any]], NDArray[Any]]
"""(C, *box) to (D, *box); what it gives for a pixel depends on pixels within the context alone."""


@dataclass(frozen=True, slots=True)
class ComputedSource:
    """``rule`` over ``source``, in cells of ``cell`` pixels read with ``context`` pixels around them."""

    source: Source
    rule: Rule
    cell: tuple[int, ...]
    context: tuple[int, ...]
    cache: ChunkCache
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Without channels."""
        return self.source.shape

    def read(self, box: Box) -> NDArray[Any]:
        """(D, *box.shape)."""
        touched = self._grid.indices_in(box).positions()
        parts = [(self._grid.box(index), self._cell(index)) for index in touched]
        first_box, first = parts[0]
        if first_box.contains(box):
            return first[(slice(None), *box.relative_to(first_box.start).slices)]
        out = np.empty((len(first), *box.shape), first.dtype)
        for place, pixels in parts:
            both = place.intersect(box)
            inside = both.relative_to(place.start).slices
            out[(slice(None), *both.relative_to(box.start).slices)] = pixels[(slice(None), *inside)]
        return out

    @property
    def _grid(self) -> BlockGrid:
        return BlockGrid(self.shape, self.cell)

    def _cell(self, index: tuple[int, ...]) -> NDArray[Any]:
        key = (self.name, index)
        kept = self.cache.get(key)
        if kept is not None:
            return kept
        box = self._grid.box(index)
        wide = box.grow(self.context, self.context).intersect(Box.of_shape(self.shape))
        made = self.rule(self.source.read(wide))[(slice(None), *box.relative_to(wide.start).slices)]
        self.cache.put(key, made)
        return made


@dataclass(frozen=True, slots=True)
class Pixels:
    """Channels of an image as a Source, through a cache."""

    image: Image
    channels: tuple[int, ...]
    cache: ChunkCache

    @property
    def shape(self) -> tuple[int, ...]:
        """Without channels."""
        return self.image.shape

    def read(self, box: Box) -> NDArray[Any]:
        """(C, *box.shape)."""
        return self.image.read_cached(box, self.cache, channels=self.channels)[0]


@dataclass(frozen=True, slots=True)
class Stores:
    """One image, its labels and weights, open.

    Attributes:
        pixels: the channels that the network takes.
        truth: the labels as stored.
        settings: what else decides the labels, as text.
        labels: in their form.
        instances: instance numbers as stored, where the labels are such.
        weights: factors of the loss (1, *box), or None.
        repeat: how often its pixels count when samples are drawn.
    """

    pixels: Pixels
    truth: Image
    settings: str
    labels: Source
    instances: Source | None
    weights: Source | None
    form: LabelForm
    repeat: float

    @property
    def image(self) -> Image:
        """The image, at the level that is learnt on."""
        return self.pixels.image

    def affine(self, spec: ModelSpec) -> Affine:
        """How ``spec`` normalises the pixels."""
        return affine_for(spec, lambda q: self.image.percentiles(q, self.pixels.channels))


@dataclass(frozen=True, slots=True)
class Region:
    """``box`` (all axes but c) of ``stores``; ``number`` tells regions of one run apart.

    Reads of the network's input reach past the box to true neighbours; labels end at the box.
    """

    stores: Stores
    box: Box
    number: int

    def __str__(self) -> str:
        return named(self.stores.image.path, self.box)

    def read_image(self, box: Box) -> NDArray[Any]:
        """(C, *box.shape) as stored; any box, mirrored past the image's border."""
        return border.read(self.stores.pixels, box)

    def read_labels(self, box: Box) -> NDArray[Any]:
        """(L, *box.shape) in their form; unlabelled outside the region, mirrored past the image's border."""
        return border.read(_Within(self.stores.labels, self.box, self.stores.form.fill), box)

    def read_instances(self, box: Box) -> NDArray[Any]:
        """(1, *box.shape) instance numbers as stored, of instance labels; ``box`` lies in the image."""
        assert self.stores.instances is not None, "only instance labels have numbers"
        return self.stores.instances.read(box)

    def read_weights(self, box: Box) -> NDArray[np.float32]:
        """(*box.shape), mirrored past the image's border; ones where the region has no weights."""
        if self.stores.weights is None:
            return np.ones(box.shape, np.float32)
        return np.asarray(border.read(self.stores.weights, box)[0], np.float32)


@dataclass(frozen=True, slots=True)
class _Within:
    """A Source that is ``fill`` outside a box."""

    source: Source
    inside: Box
    fill: float

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    def read(self, box: Box) -> NDArray[Any]:
        pixels = self.source.read(box)
        if self.inside.contains(box):
            return pixels
        kept = np.full_like(pixels, self.fill)
        both = (slice(None), *self.inside.intersect(box).relative_to(box.start).slices)
        kept[both] = pixels[both]
        return kept


def named(path: str, box: Box) -> str:
    """A place as messages have it: STORE[0:20, 0:512]."""
    return f"{path}[{', '.join(f'{a}:{b}' for a, b in zip(box.start, box.stop, strict=True))}]"

"""Scene: which image and masks a picture shows, and which part of them. Reads pixels, draws nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import FormatError, InputError
from unet_batch.formats.image import open_image
from unet_batch.products.scale import Scale
from unet_batch.products.sources import image_beside
from unet_batch.store.image import Image
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

_STRIP = 2**24  # pixels read at once where no level is coarse enough
Window = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Overlay:
    """Masks, and their pixels as an image."""

    masks: Masks
    image: Image


@dataclass(frozen=True, slots=True)
class Scene:
    """What is shown.

    Attributes:
        base: the image below, at the level that has the pixels of the masks; None leaves it white.
        overlays: masks, the first lowest.
        plane: index on every axis but y, x and the channels.
        window: top, bottom, left and right of the part that is shown, in pixels of the masks.
    """

    base: Image | None
    overlays: tuple[Overlay, ...]
    plane: tuple[int, ...]
    window: Window

    @classmethod
    def open(cls, stores: Sequence[str | Path]) -> "Scene":
        """All of ``stores``, at most one image and any number of masks of the same shape.

        Masks at IMAGE/labels/NAME are shown over that image, too. Of other axes than y and x the middle is
        shown.

        Raises:
            MissingError, FormatError: a store that is not there or cannot be used.
            InputError: stores that do not belong together.
        """
        masks, image = [], None
        for store in stores:
            found = _open(store)
            if isinstance(found, Masks):
                masks.append(found)
            elif image is not None:
                raise InputError(f"{store}: a second image; give one, and any number of masks")
            else:
                image = found
        if not masks:
            assert image is not None, "at least one store"
            return cls._whole(image, (), image.shape)
        for one, other in pairwise(masks):
            if one.layout.shape != other.layout.shape:
                raise InputError(
                    f"{other.path}: has shape {other.layout.shape}, {one.path} {one.layout.shape}; "
                    "give masks of one image"
                )
        base = image_beside(masks[0], None if image is None else image.path)
        overlays = tuple(Overlay(one, Image.open(one.path)) for one in masks)
        return cls._whole(base, overlays, masks[0].layout.shape)

    @classmethod
    def _whole(cls, base: Image | None, overlays: tuple[Overlay, ...], shape: tuple[int, ...]) -> "Scene":
        return cls(base, overlays, tuple(n // 2 for n in shape[:-2]), (0, shape[-2], 0, shape[-1]))

    @property
    def reference(self) -> Image:
        """The image whose pixels windows are in."""
        if self.overlays:
            return self.overlays[0].image
        assert self.base is not None, "a scene shows something"
        return self.base

    @property
    def extent(self) -> tuple[int, int]:
        """Height and width of the window."""
        top, bottom, left, right = self.window
        return bottom - top, right - left

    def at(self, ranges: Sequence[tuple[int, int]]) -> "Scene":
        """The part in ``ranges``: [start, stop) of y and x; of axes before them the first is shown."""
        shape = self.reference.shape
        if not 2 <= len(ranges) <= len(shape):
            axes = self.reference.axes.replace("c", "")
            raise InputError(f"a box of {len(ranges)} ranges: give 2 to {len(shape)}, for the axes {axes}")
        given = list(zip(shape[len(shape) - len(ranges) :], ranges, strict=True))
        if any(not 0 <= start < stop <= size for size, (start, stop) in given):
            raise InputError(f"box {list(ranges)} is empty or reaches past the shape {shape}; choose another")
        fixed = tuple(start for start, _ in ranges[:-2])
        plane = self.plane[: len(self.plane) - len(fixed)] + fixed
        return replace(self, plane=plane, window=(*ranges[-2], *ranges[-1]))

    def scale(self) -> tuple[float, str | None]:
        """Width of a pixel in the middle of the window, and its unit."""
        if not self.overlays:
            width = self.reference.pixel_size.get("x")
            return (1.0, None) if width is None else (width, self.reference.unit)
        scale = Scale.of(self.overlays[0].masks)
        middle = np.array([(self.window[0] + self.window[1]) / 2])
        return float(scale.extents(middle)[1][0]), scale.unit


def read(image: Image, scene: Scene, factor: float, channels: tuple[int, ...] | None = None) -> NDArray[Any]:
    """(C, y, x) of the window, from the coarsest level with pixels of at most ``factor`` pixels of the masks.

    Without such a level, pixels in between are left out, strip by strip, so memory stays bounded.
    """
    first = image.levels[image.level].factor
    ratios = [tuple(f / g for f, g in zip(level.factor, first, strict=True)) for level in image.levels]
    fitting = [k for k in range(image.level, len(ratios)) if max(ratios[k][-2:]) <= factor * 1.001]
    level = fitting[-1] if fitting else image.level
    at, ratio = image.at_level(level), ratios[level]
    top, bottom = _shrunk(scene.window[:2], ratio[-2], at.shape[-2])
    left, right = _shrunk(scene.window[2:], ratio[-1], at.shape[-1])
    plane = tuple(
        min(int(index / r), size - 1) for index, r, size in zip(scene.plane, ratio, at.shape, strict=False)
    )
    return _strided(at, plane, (top, bottom, left, right), max(1, int(factor / max(ratio[-2:]))), channels)


def _open(store: str | Path) -> Masks | Image:
    """Masks of classes or objects; values of a regression are an image."""
    try:
        masks = Masks.open(store)
    except FormatError:
        return open_image(store)
    return Image.open(store) if masks.layout.kind == "regression" else masks


def _shrunk(ends: Sequence[int], ratio: float, size: int) -> tuple[int, int]:
    """[start, stop) on an axis of a coarser level, at least a pixel."""
    start = min(round(ends[0] / ratio), size - 1)
    return start, max(start + 1, min(round(ends[1] / ratio), size))


def _strided(
    image: Image, plane: tuple[int, ...], window: Window, stride: int, channels: tuple[int, ...] | None
) -> NDArray[Any]:
    top, bottom, left, right = window
    rows = max(1, _STRIP // max(1, right - left) // stride) * stride
    strips = []
    for start in range(top, bottom, rows):
        stop = min(start + rows, bottom)
        box = Box((*plane, start, left), (*(index + 1 for index in plane), stop, right))
        pixels = image.read(box, channels)
        strips.append(pixels.reshape(len(pixels), stop - start, right - left)[:, ::stride, ::stride])
    return np.concatenate(strips, axis=1)

"""What lies past the edge of an image: any box of any size, read as if the image went on for ever."""

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from unet_batch.tiling.box import Box

Border = Literal["mirror", "edge", "constant"]


class Source(Protocol):
    """Anything that boxes of pixels can be read from."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent without the channel axis."""

    def read(self, box: Box) -> NDArray[np.generic]:
        """Pixels of a box inside ``shape``: (C, *box.shape)."""


def read(source: Source, box: Box, border: Border = "mirror") -> NDArray[np.generic]:
    """Pixels of any ``box``, also past the edges of ``source``: (C, *box.shape).

    ``mirror`` reflects about the edge pixel without repeating it (numpy's ``reflect``; Ronneberger 2015,
    fig. 2), as often as the box needs; ``edge`` repeats the last pixel; ``constant`` gives zeros.
    """
    if Box.of_shape(source.shape).contains(box):
        return source.read(box)
    positions = [
        _positions(a, b, n, border) for a, b, n in zip(box.start, box.stop, source.shape, strict=True)
    ]
    inside = Box(tuple(int(p.min()) for p in positions), tuple(int(p.max()) + 1 for p in positions))
    pixels = source.read(inside)
    for axis, (position, start) in enumerate(zip(positions, inside.start, strict=True), start=1):
        pixels = _take(pixels, position - start, axis)
    return _zero_outside(pixels, box, source.shape) if border == "constant" else pixels


def _positions(start: int, stop: int, size: int, border: Border) -> NDArray[np.int64]:
    """Where on an axis of ``size`` pixels the pixels ``start`` to ``stop`` come from."""
    position = np.arange(start, stop, dtype=np.int64)
    if border != "mirror" or size == 1:
        return np.clip(position, 0, size - 1)
    position = np.abs(position) % (2 * size - 2)
    return np.minimum(position, 2 * size - 2 - position)


def _take(pixels: NDArray[np.generic], position: NDArray[np.int64], axis: int) -> NDArray[np.generic]:
    if position.size == pixels.shape[axis] and np.array_equal(position, np.arange(position.size)):
        return pixels
    return np.take(pixels, position, axis=axis)


def _zero_outside(pixels: NDArray[np.generic], box: Box, shape: tuple[int, ...]) -> NDArray[np.generic]:
    inside = box.intersect(Box.of_shape(shape)).relative_to(box.start)
    result = np.zeros_like(pixels)
    result[(slice(None), *inside.slices)] = pixels[(slice(None), *inside.slices)]
    return result

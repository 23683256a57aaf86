"""Planes: a StoredArray of planes that a library decodes whole, the last ones kept."""

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.formats.segments import SegmentCache
from unet_batch.tiling.box import Box

_CACHE = 256 * 2**20


class Planes:
    """Of ``shape``, whose last ``inner`` axes one call of ``plane`` gives at a position on the others.

    ``plane`` is called by one thread at a time, as few of these libraries are made for more.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        dtype: Any,
        inner: int,
        plane: Callable[[tuple[int, ...]], NDArray[Any]],
        closing: Callable[[], object],
    ) -> None:
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        self._inner, self._plane, self._closing = inner, plane, closing
        self._kept, self._lock = SegmentCache(_CACHE), Lock()

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of the box."""
        count = len(self.shape) - self._inner
        outer = Box(box.start[:count], box.stop[:count])
        part = Box(box.start[count:], box.stop[count:]).slices
        found = [self._at(position)[part] for position in outer.positions()]
        return np.stack(found).reshape(box.shape)

    def close(self) -> None:
        """Close the file."""
        self._closing()

    def _at(self, position: tuple[int, ...]) -> NDArray[Any]:
        number = 0
        for at, extent in zip(position, self.shape, strict=False):
            number = number * extent + at
        return self._kept.get((number, 0), lambda: self._decode(position))

    def _decode(self, position: tuple[int, ...]) -> NDArray[Any]:
        with self._lock:
            return self._plane(position)

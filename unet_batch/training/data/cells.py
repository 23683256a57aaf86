"""Cells: a Source computed from another by a rule that looks at neighbours, cell by cell, each kept.

Cells lie on a fixed grid and see the true pixels around them, so what is read does not depend on the box.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.store.cache import ChunkCache
from unet_batch.tiling.border import Source
from unet_batch.tiling.box import Box

Rule = Callable[[NDArray[Any]], NDArray[Any]]
"""(C, *box) to (D, *box); what it gives for a pixel depends on pixels within the context alone."""


@dataclass(frozen=True, slots=True)
class Cells:
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
        cells = box.scale_down(self.cell)
        indices = product(*(range(a, b) for a, b in zip(cells.start, cells.stop, strict=True)))
        parts = [(self._box(index), self._cell(index)) for index in indices]
        first_box, first = parts[0]
        if first_box.contains(box):
            return first[(slice(None), *box.relative_to(first_box.start).slices)]
        out = np.empty((len(first), *box.shape), first.dtype)
        for place, pixels in parts:
            both = place.intersect(box)
            inside = both.relative_to(place.start).slices
            out[(slice(None), *both.relative_to(box.start).slices)] = pixels[(slice(None), *inside)]
        return out

    def _box(self, index: tuple[int, ...]) -> Box:
        start = tuple(i * c for i, c in zip(index, self.cell, strict=True))
        whole = Box(start, tuple(a + c for a, c in zip(start, self.cell, strict=True)))
        return whole.intersect(Box.of_shape(self.shape))

    def _cell(self, index: tuple[int, ...]) -> NDArray[Any]:
        key = (self.name, index)
        kept = self.cache.get(key)
        if kept is not None:
            return kept
        box = self._box(index)
        wide = box.grow(self.context, self.context).intersect(Box.of_shape(self.shape))
        made = self.rule(self.source.read(wide))[(slice(None), *box.relative_to(wide.start).slices)]
        self.cache.put(key, made)
        return made

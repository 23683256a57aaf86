"""Cells: a Source computed from another by a rule that looks at neighbours, cell by cell, each kept.

Cells lie on a fixed grid and see the true pixels around them, so what is read does not depend on the box.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.store.cache import ChunkCache
from unet_batch.tiling import BlockGrid, Box
from unet_batch.tiling.border import Source

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

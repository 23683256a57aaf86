"""Occupancy: how much of each class lies in which coarse cell of the training regions, to find rare ones.

Plain numbers; how they are counted is scan's, how they are kept index's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_batch.tiling.box import Box


@dataclass(frozen=True, slots=True)
class Cells:
    """The labelled cells of one region.

    Attributes:
        extent: of a cell on every axis, in pixels; cells lie at multiples of it.
        index: (n, axes) places of the cells in that grid.
        counts: (n, K + 1) pixels of each class or channel, then pixels with any label.
    """

    extent: tuple[int, ...]
    index: NDArray[np.int64]
    counts: NDArray[np.int64]

    def box(self, cell: int) -> Box:
        """The pixels of a cell."""
        start = tuple(int(i) * e for i, e in zip(self.index[cell], self.extent, strict=True))
        return Box(start, tuple(a + e for a, e in zip(start, self.extent, strict=True)))


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Cells of all regions, to draw from.

    Attributes:
        cells: of each region.
        first: the number of each region's first cell, when the cells of all are counted through.
        holding: for each class, then for any label: the cells that have it.
        upto: the pixels of it in these cells and those before, each as often as its region repeats.
        totals: pixels of every class or channel, each counted once.
        labelled: pixels with any label.
    """

    cells: tuple[Cells, ...]
    first: NDArray[np.int64]
    holding: tuple[NDArray[np.int64], ...]
    upto: tuple[NDArray[np.float64], ...]
    totals: tuple[int, ...]
    labelled: int

    @classmethod
    def of(cls, cells: Sequence[Cells], repeats: Sequence[float]) -> "Occupancy":
        """The cells of regions, in their order, and how often each region repeats."""
        first = np.cumsum([0, *(len(one.index) for one in cells)])
        counts = np.concatenate([one.counts for one in cells])
        holding = tuple(np.flatnonzero(column) for column in counts.T)
        weighed = (counts * np.repeat(repeats, np.diff(first))[:, np.newaxis]).T
        upto = tuple(np.cumsum(column[held]) for column, held in zip(weighed, holding, strict=True))
        *totals, labelled = (int(total) for total in counts.sum(axis=0))
        return cls(tuple(cells), first, holding, upto, tuple(totals), labelled)

    def draw(self, column: int, rng: np.random.Generator) -> tuple[int, Box]:
        """The region and the box of the cell of a pixel of a class, each pixel as often as it repeats."""
        upto = self.upto[column]
        place = int(np.searchsorted(upto[:-1], rng.random() * upto[-1], side="right"))
        cell = int(self.holding[column][place])
        region = int(np.searchsorted(self.first, cell, side="right")) - 1
        return region, self.cells[region].box(cell - int(self.first[region]))

"""Occupancy: how much of each class lies in which coarse cell of the training regions, to find rare ones.

Labels are counted once, piece by piece in bounded memory, and the counts are stored in a folder under names
that follow from the labels.
"""

import hashlib
import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.atomic import atomic_file
from unet_batch.errors import InputError
from unet_batch.store.io_errors import writing
from unet_batch.tiling import BlockGrid, Box
from unet_batch.training.data.region import Region


@dataclass(frozen=True, slots=True)
class CellCounts:
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

    cells: tuple[CellCounts, ...]
    first: NDArray[np.int64]
    holding: tuple[NDArray[np.int64], ...]
    upto: tuple[NDArray[np.float64], ...]
    totals: tuple[int, ...]
    labelled: int

    @classmethod
    def of(cls, cells: Sequence[CellCounts], repeats: Sequence[float]) -> "Occupancy":
        """The cells of regions, in their order, and how often each region repeats."""
        first = np.cumsum([0, *(len(one.index) for one in cells)])
        counts = np.concatenate([one.counts for one in cells])
        holding = tuple(np.flatnonzero(column) for column in counts.T)
        weighed = (counts * np.repeat(repeats, np.diff(first))[:, np.newaxis]).T
        upto = tuple(np.cumsum(column[held]) for column, held in zip(weighed, holding, strict=True))
        *totals, labelled = (int(total) for total in counts.sum(axis=0))
        return cls(tuple(cells), first, holding, upto, tuple(totals), labelled)

    def draw(self, column: int, rng: np.random.Generator) -> tuple[int, Box]:
        """Region and box of a random cell with the class of ``column``, by its pixels times their repeats."""
        upto = self.upto[column]
        place = int(np.searchsorted(upto[:-1], rng.random() * upto[-1], side="right"))
        cell = int(self.holding[column][place])
        region = int(np.searchsorted(self.first, cell, side="right")) - 1
        return region, self.cells[region].box(cell - int(self.first[region]))


# Extent of a cell by dimensions; doubled until the counts of a region are at most _MOST_COUNTS.
_CELL = {2: 64, 3: 16}
_MOST_COUNTS = 2**24
# Cells along every spatial axis of what is read at once: about a megapixel.
_PIECE = {2: 16, 3: 6}


def count_labels(region: Region, dims: int, progress: Callable[[int], None]) -> CellCounts:
    """The labelled cells of ``region``, counted; cells without labels are left out.

    Raises:
        InputError: a label that is no class.
    """
    extent = _extent(region, dims)
    columns = _columns(region)
    index, counts, done = [np.empty((0, region.box.ndim), np.int64)], [np.empty((0, columns), np.int64)], 0
    for piece in _pieces(region.box, extent, dims):
        if _may_have_labels(region, piece):
            grid = piece.scale_down(extent)
            found = _counted(region, piece, extent)
            held = found[..., -1].nonzero()
            index.append(np.stack(held, axis=1) + np.asarray(grid.start))
            counts.append(found[held])
        done += piece.size
        progress(done)
    return CellCounts(extent, np.concatenate(index), np.concatenate(counts))


def _columns(region: Region) -> int:
    """A count for each class or channel, and one for any label."""
    return len(region.stores.form.names) + 1


def _extent(region: Region, dims: int) -> tuple[int, ...]:
    outer, edge = region.box.ndim - dims, _CELL[dims]
    while True:
        extent = (1,) * outer + (edge,) * dims
        if prod(region.box.scale_down(extent).shape) * _columns(region) <= _MOST_COUNTS:
            return extent
        edge *= 2


def _pieces(box: Box, extent: tuple[int, ...], dims: int) -> Iterator[Box]:
    """Boxes of whole cells that cover ``box``, clipped to it."""
    times = (1,) * (len(extent) - dims) + (_PIECE[dims],) * dims
    step = tuple(e * t for e, t in zip(extent, times, strict=True))
    return BlockGrid(box.stop, step).pieces(box)


def _may_have_labels(region: Region, piece: Box) -> bool:
    """Whether a shard of ``piece`` was written, where shards that were not are unlabelled."""
    truth, form = region.stores.truth, region.stores.form
    fill = truth.array.fill
    unlabelled = np.isnan(fill) if form.head == "regression" else fill == np.iinfo(truth.dtype).max
    return not unlabelled or truth.is_written(piece)


def _counted(region: Region, piece: Box, extent: tuple[int, ...]) -> NDArray[np.int64]:
    """(*cells of the piece, K + 1) pixels."""
    labels, form = region.read_labels(piece), region.stores.form
    cell, grid = _cell_numbers(piece, extent)
    known = form.labelled(labels)
    if form.head == "multiclass":
        classes = len(form.names)
        codes = cell[known] * classes + labels[0][known]
        counts = np.bincount(codes, minlength=prod(grid) * classes).reshape(*grid, classes)
    else:
        present = known[np.newaxis] if form.head == "regression" else labels == 1
        counts = np.stack(
            [_bincount(cell, np.broadcast_to(one, cell.shape), grid) for one in present], axis=-1
        )
        counts = np.broadcast_to(counts, (*grid, len(form.names)))
    return np.concatenate([counts, _bincount(cell, known, grid)[..., np.newaxis]], axis=-1)


def _bincount(cell: NDArray[np.int64], present: NDArray[np.bool_], grid: tuple[int, ...]) -> NDArray[Any]:
    return np.bincount(cell[present], minlength=prod(grid)).reshape(grid)


def _cell_numbers(piece: Box, extent: tuple[int, ...]) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """The number of every pixel's cell, raster order in the grid of the piece, and the grid's shape."""
    grid = piece.scale_down(extent)
    numbers = np.zeros((1,) * piece.ndim, np.int64)
    for axis, (start, stop, edge) in enumerate(zip(piece.start, piece.stop, extent, strict=True)):
        along = np.arange(start, stop) // edge - grid.start[axis]
        shape = [-1 if a == axis else 1 for a in range(piece.ndim)]
        numbers = numbers * grid.shape[axis] + along.reshape(shape)
    return np.broadcast_to(numbers, piece.shape), grid.shape


Progress = Callable[[int, int], None]
"""Called with pixels indexed and pixels in all."""

_VERSION = 1


def count_regions(
    regions: Sequence[Region], dims: int, folder: Path | None, progress: Progress | None = None
) -> list[CellCounts]:
    """The labelled cells of every region; those that ``folder`` keeps are not counted again.

    Raises:
        InputError: a region without a labelled pixel, or a label that is no class.
    """
    total, done, found = sum(region.box.size for region in regions), 0, []
    stamps: dict[int, str] = {}
    for region in regions:
        stamp = stamps.setdefault(id(region.stores), "") or _stamp(region)
        stamps[id(region.stores)] = stamp

        def tell(pixels: int, before: int = done) -> None:
            if progress is not None:
                progress(before + pixels, total)

        found.append(_of_region(region, dims, _file(folder, stamp, region, dims), tell))
        done += region.box.size
    return found


def _of_region(region: Region, dims: int, file: Path | None, tell: Callable[[int], None]) -> CellCounts:
    cells = _stored(file)
    if cells is None:
        cells = count_labels(region, dims, tell)
        _store(file, cells)
    if not len(cells.index):
        raise InputError(
            f"{region}: {region.stores.truth.path} has no labelled pixel in this box; move it or leave it out"
        )
    return cells


def _stamp(region: Region) -> str:
    """What the labels of a region follow from, besides the box."""
    stores = region.stores
    return json.dumps([_VERSION, stores.truth.identity(), stores.truth.array.stamp(), stores.settings])


def _file(folder: Path | None, stamp: str, region: Region, dims: int) -> Path | None:
    if folder is None:
        return None
    said = json.dumps([stamp, dims, region.box.start, region.box.stop, region.stores.form.names])
    return folder / f"{hashlib.sha256(said.encode()).hexdigest()[:32]}.npz"


def _stored(file: Path | None) -> CellCounts | None:
    if file is None or not file.exists():
        return None
    try:
        with file.open("rb") as raw, np.load(raw) as kept:  # a torn file would stay open
            return CellCounts(tuple(kept["extent"].tolist()), kept["index"], kept["counts"].astype(np.int64))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):  # torn: counted again
        return None


def _store(file: Path | None, cells: CellCounts) -> None:
    """Write beside the place and rename: other ranks may be reading, or writing the same."""
    if file is None:
        return
    with writing(str(file)):
        file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(file, fsync=False) as out:
        np.savez_compressed(
            out, extent=np.asarray(cells.extent), index=cells.index, counts=cells.counts.astype(np.uint32)
        )

"""Counting the labels of a region by coarse cells, piece by piece, in bounded memory."""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.tiling import BlockGrid, Box
from unet_batch.training.data.occupancy import Cells
from unet_batch.training.data.region import Region

Progress = Callable[[int], None]
"""Called with pixels done."""

# Extent of a cell by dimensions; doubled until the counts of a region are at most _MOST_COUNTS.
_CELL = {2: 64, 3: 16}
_MOST_COUNTS = 2**24
# Cells along every spatial axis of what is read at once: about a megapixel.
_PIECE = {2: 16, 3: 6}


def scanned(region: Region, dims: int, progress: Progress) -> Cells:
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
    return Cells(extent, np.concatenate(index), np.concatenate(counts))


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
    return not unlabelled or truth.has_data(piece)


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

"""Sweep: a network over the tiles of a region, batch by batch, onto a canvas."""

from collections.abc import Callable, Sequence

from torch import Tensor

from unet_batch.inference.canvas import LabelCanvas, ProbabilityCanvas
from unet_batch.inference.copies import stacked
from unet_batch.tiling import Box, Tile, TileGrid

Answer = Callable[[Tensor], Tensor]
"""(N, C, *input) as stored in, (N, K, *tile) out."""


def sweep(
    canvas: LabelCanvas | ProbabilityCanvas,
    pixels: Tensor,
    grid: TileGrid,
    region: Box,
    tiles: Sequence[Tile],
    answer: Answer,
    batch: int,
) -> None:
    """Put the answers for ``tiles`` onto ``canvas``.

    Args:
        canvas: takes them, for ``region`` without its outer axes.
        pixels: (C, *spatial) of the region's read box, on the device.
        grid: what the tiles are of.
        region: what is computed.
        tiles: in a fixed order, as float sums depend on it.
        answer: the network.
        batch: tiles per call.
    """
    dims = pixels.ndim - 1
    origin, flat = grid.read_box(region).start, last_axes(region, dims)
    for part in (tiles[first : first + batch] for first in range(0, len(tiles), batch)):
        cuts = [last_axes(tile.read.relative_to(origin), dims).slices for tile in part]
        x_NCS = stacked([pixels[(slice(None), *cut)] for cut in cuts])
        for tile, answer_KT in zip(part, answer(x_NCS), strict=True):
            canvas.add(answer_KT, last_axes(tile.write, dims), flat)


def last_axes(box: Box, dims: int) -> Box:
    """``box`` on its last ``dims`` axes."""
    return Box(box.start[-dims:], box.stop[-dims:])

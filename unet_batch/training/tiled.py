"""A network over a region, tile by tile, as prediction does it: labels of the whole box, block by block.

Shapes: C channels in, K classes, L channels of labels, S spatial axes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unet_batch.inference.canvas import ProbabilityCanvas, decide
from unet_batch.inference.sweep import last_axes, sweep
from unet_batch.inference.views import Averaging, View, views
from unet_batch.models import heads, normalise
from unet_batch.models.layers import channels_last
from unet_batch.models.receptive_field import ReceptiveField
from unet_batch.models.spec import ModelSpec
from unet_batch.tiling import BlockGrid, Box, TileGrid, round_down, round_up
from unet_batch.tiling.blend import weights
from unet_batch.training.data.region import Region

# Pixels per axis that suit most devices; boxes that are smaller take smaller tiles.
_TILE = {2: 512, 3: 64}
_BLOCK = {2: 1024, 3: 128}


@dataclass(frozen=True, slots=True)
class Tiled:
    """How networks of ``spec`` are applied.

    Attributes:
        spec: the network's description.
        device: where it computes.
        dtype: of autocast; None is float32.
        tile: pixels that one input answers for; None takes the largest that suits.
        batch: tiles per call.
        tta: average over flips, or flips and quarter turns, of every tile.
    """

    spec: ModelSpec
    device: torch.device
    dtype: torch.dtype | None
    tile: int | None
    batch: int
    tta: Averaging = False

    def __call__(self, network: nn.Module, region: Region) -> Iterator[tuple[Box, Tensor]]:
        """Boxes that make up the region's, and the probabilities (K, S) there.

        Along outer axes the boxes have one pixel. Regression values take the place of probabilities.
        """
        network.eval()
        blocks, tiles = self._grids(region)
        affine = region.stores.affine(self.spec)
        layout = channels_last(self.spec.dims)
        ways = views(self.spec.dims, self.tta)
        tile, step = (extents[-self.spec.dims :] for extents in (tiles.tile, tiles.step))
        part_weights = torch.from_numpy(weights(tile, step)).to(self.device)

        def answer(x_NCS: Tensor) -> Tensor:
            x = torch.nan_to_num(normalise.apply(x_NCS, affine), nan=0.0)
            return torch.stack([one_way(x, view) for view in ways]).mean(dim=0)

        def one_way(x: Tensor, view: View) -> Tensor:
            with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
                logits = view.back(network(view.of(x).contiguous(memory_format=layout)))
            return heads.probabilities(_cropped(logits, x, tiles), self.spec.head)

        for number in blocks.numbers_in(region.box):
            part = blocks.box(number).intersect(region.box)
            hull = region.read_image(tiles.read_box(part))
            flat = hull.reshape(hull.shape[0], *hull.shape[-self.spec.dims :])
            canvas = ProbabilityCanvas(part_weights)
            with torch.inference_mode():
                pixels = torch.from_numpy(_native(flat)).to(self.device)
                sweep(canvas, pixels, tiles, part, tiles.tiles(part), answer, self.batch)
                yield part, canvas.probabilities

    def labels(self, network: nn.Module, region: Region, kept: int | None = None) -> "Labelled":
        """Labels of the whole box, and the probability of class ``kept`` if one is named."""
        box, outer = region.box, region.box.ndim - self.spec.dims
        labels: NDArray[Any] | None = None
        probability = None if kept is None else np.zeros(box.shape, np.float16)
        for part, found in self(network, region):
            place = part.relative_to(box.start).slices
            decided = decide(found, self.spec.head, averaged=True).cpu().numpy()
            if labels is None:
                labels = np.zeros((len(decided), *box.shape), decided.dtype)
            labels[(slice(None), *place)] = decided.reshape(len(decided), *(1,) * outer, *decided.shape[1:])
            if probability is not None:
                probability[place] = found[kept].cpu().numpy().reshape(part.shape)
        assert labels is not None
        return Labelled(labels, probability)

    def _grids(self, region: Region) -> tuple[BlockGrid, TileGrid]:
        shape, dims, reach = region.stores.image.shape, self.spec.dims, self.spec.receptive_field()
        none = (0,) * (len(shape) - dims)
        tile = tuple(self._extent(n, reach) for n in last_axes(region.box, dims).shape)
        step = tile if reach.exact else tuple(_half(t, reach.multiple) for t in tile)
        block = tuple(t * max(1, _BLOCK[dims] // t) for t in tile)
        after = tuple(reach.input_size(t) - t - reach.margin for t in tile)
        ones = (1,) * len(none)
        return BlockGrid(shape, ones + block), TileGrid(
            shape=shape,
            tile=ones + tile,
            step=ones + step,
            before=none + (reach.margin,) * dims,
            after=none + after,
            multiple=ones + (reach.multiple,) * dims,
        )

    def _extent(self, extent: int, reach: ReceptiveField) -> int:
        """A tile along an axis on which a box has ``extent`` pixels."""
        largest = max(reach.multiple, round_down(self.tile or _TILE[self.spec.dims], reach.multiple))
        return min(largest, round_up(extent, reach.multiple))


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a network says of a box: labels (L, *box), and one class's probability (*box) or None."""

    labels: NDArray[Any]
    probability: NDArray[np.float16] | None


def _cropped(logits: Tensor, x: Tensor, tiles: TileGrid) -> Tensor:
    """The tile's own pixels of an output as large as the input, or smaller by the margins."""
    dims = x.ndim - 2
    slices = [slice(None), slice(None)]
    for axis in range(-dims, 0):
        start = tiles.before[axis] if logits.shape[axis] == x.shape[axis] else 0
        slices.append(slice(start, start + tiles.tile[axis]))
    return logits[tuple(slices)].float()


def _half(tile: int, multiple: int) -> int:
    return max(multiple, round_down(tile // 2, multiple))


def _native(array: NDArray[Any]) -> NDArray[Any]:
    return np.require(array, array.dtype.newbyteorder("="), ["C", "W"])

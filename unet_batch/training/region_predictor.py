"""RegionPredictor: a network over a labelled region, in the sliding window that prediction uses.

Shapes: C channels in, K classes, L channels of labels, S spatial axes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unet_batch.inference.canvas import decide
from unet_batch.inference.sliding_window import SlidingWindow, last_axes
from unet_batch.inference.views import Averaging
from unet_batch.models import normalise
from unet_batch.models.layers import channels_last
from unet_batch.models.normalise import Affine
from unet_batch.models.receptive_field import ReceptiveField
from unet_batch.models.spec import ModelSpec
from unet_batch.tiling import BlockGrid, Box, TileGrid, round_down, round_up
from unet_batch.training.data.region import Region

# Pixels per axis that suit most devices; boxes that are smaller take smaller tiles.
_TILE = {2: 512, 3: 64}
_BLOCK = {2: 1024, 3: 128}


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a network says of a box: labels (L, *box), and one class's probability (*box) or None."""

    labels: NDArray[Any]
    probability: NDArray[np.float16] | None


@dataclass(frozen=True, slots=True)
class RegionPredictor:
    """How networks of ``spec`` are applied to regions.

    Attributes:
        spec: the networks' description.
        device: where they compute.
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

    def __call__(self, network: nn.Module, region: Region, kept: int | None = None) -> Predicted:
        """Labels of the whole box, and the probability of class ``kept`` if one is named."""
        network.eval()
        box, outer = region.box, region.box.ndim - self.spec.dims
        labels: NDArray[Any] | None = None
        probability = None if kept is None else np.zeros(box.shape, np.float16)
        for part, found in self._blocks(network, region):
            place = part.relative_to(box.start).slices
            decided = decide(found, self.spec.head, averaged=True).cpu().numpy()
            if labels is None:
                labels = np.zeros((len(decided), *box.shape), decided.dtype)
            labels[(slice(None), *place)] = decided.reshape(len(decided), *(1,) * outer, *decided.shape[1:])
            if probability is not None:
                probability[place] = found[kept].cpu().numpy().reshape(part.shape)
        assert labels is not None
        return Predicted(labels, probability)

    def _blocks(self, network: nn.Module, region: Region) -> Iterator[tuple[Box, Tensor]]:
        """Boxes that make up the region's, and the probabilities (K, S) there."""
        (blocks, tiles), affine = self._grids(region), region.stores.affine(self.spec)
        window = SlidingWindow(
            [partial(self._logits, network, affine)],
            self.spec,
            tiles,
            batch=self.batch,
            tta=self.tta,
            device=self.device,
        )
        for number in blocks.numbers_in(region.box):
            part = blocks.box(number).intersect(region.box)
            hull = region.read_image(tiles.read_box(part))
            yield part, window.probabilities(window.to_device(hull), part)

    def _logits(self, network: nn.Module, affine: Affine, x_NCS: Tensor) -> Tensor:
        """Float32 logits of pixels as stored; what is missing is the mean."""
        x = torch.nan_to_num(normalise.apply(x_NCS, affine), nan=0.0)
        x = x.contiguous(memory_format=channels_last(self.spec.dims))
        with torch.autocast(self.device.type, self.dtype, enabled=self.dtype is not None):
            logits: Tensor = network(x)
        return logits.float()

    def _grids(self, region: Region) -> tuple[BlockGrid, TileGrid]:
        shape, dims, reach = region.stores.image.shape, self.spec.dims, self.spec.receptive_field()
        none = (0,) * (len(shape) - dims)
        tile = tuple(self._extent(n, reach) for n in last_axes(region.box, dims).shape)
        step = tile if reach.exact else tuple(_half(t, reach.multiple) for t in tile)
        block = tuple(t * max(1, _BLOCK[dims] // t) for t in tile)
        before, after = reach.margins(tile)
        ones = (1,) * len(none)
        return BlockGrid(shape, ones + block), TileGrid(
            shape=shape,
            tile=ones + tile,
            step=ones + step,
            before=none + before,
            after=none + after,
            multiple=ones + (reach.multiple,) * dims,
        )

    def _extent(self, extent: int, reach: ReceptiveField) -> int:
        """A tile along an axis on which a box has ``extent`` pixels."""
        largest = max(reach.multiple, round_down(self.tile or _TILE[self.spec.dims], reach.multiple))
        return min(largest, round_up(extent, reach.multiple))


def _half(tile: int, multiple: int) -> int:
    return max(multiple, round_down(tile // 2, multiple))

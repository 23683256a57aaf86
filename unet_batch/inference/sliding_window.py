"""Sliding window: networks over the tiles of a region, put together on their device.

Prediction, validation in training and ``verify --untiled`` all compute regions here: margins are cropped,
flips and turns averaged and tiles put onto a canvas in this one place.

    window = SlidingWindow([network], spec, grid, batch=4, tta=False, device="cpu")
    hull = image.read(grid.read_box(region))                # (C, *hull) with the margins of all tiles
    probabilities = window.probabilities(window.to_device(hull), region)            # (K, *region)

Shapes: N tiles of a call, C channels, K classes, S spatial axes of a region, T of a tile.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unet_batch.inference.canvas import LabelCanvas, ProbabilityCanvas, stacked
from unet_batch.inference.views import Averaging, View, views
from unet_batch.models import heads
from unet_batch.models.spec import ModelSpec
from unet_batch.tiling import Box, Tile, TileGrid
from unet_batch.tiling.blend import weights

Network = Callable[[Tensor], Tensor]
"""(N, C, *input) pixels as stored to (N, K, *output) logits, which a next call may overwrite.

The output is as large as the input, or smaller by the margins.
"""


class SlidingWindow:
    """Networks of one ``spec`` over the tiles of ``grid``. Threads may share it where they share networks.

    Args:
        networks: their probabilities are averaged.
        spec: their common description.
        grid: tiles with their margins. Outer axes, over which a 2-D network goes plane by plane, come first.
        batch: tiles per call.
        tta: what each tile is averaged over.
        device: where pixels, networks and results are.
        fixed_batch: whether networks take exactly ``batch`` tiles; fewer are filled up with zeros. Otherwise
            a batch that memory does not suffice for is halved.
    """

    def __init__(
        self,
        networks: Sequence[Network],
        spec: ModelSpec,
        grid: TileGrid,
        *,
        batch: int,
        tta: Averaging,
        device: str | torch.device,
        fixed_batch: bool = False,
    ) -> None:
        self.networks, self.head, self.dims = networks, spec.head, spec.dims
        self.grid, self.batch, self.fixed_batch = grid, batch, fixed_batch
        self.views = views(spec.dims, tta)
        self.device = torch.device(device)
        self.weights = torch.from_numpy(weights(grid.tile[-spec.dims :], grid.step[-spec.dims :])).to(device)

    @property
    def averages(self) -> bool:
        """Whether several networks or views are averaged."""
        return len(self.networks) * len(self.views) > 1

    def to_device(self, hull: NDArray[Any]) -> Tensor:
        """(C, S) on the device, from pixels (C, *read box) as stored; outer axes have one pixel and go."""
        native = np.require(hull, dtype=hull.dtype.newbyteorder("="), requirements=["C", "W"])
        pixels = torch.from_numpy(native.reshape(native.shape[0], *native.shape[-self.dims :]))
        return (
            pixels.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else pixels
        )

    @torch.inference_mode()
    def labels(self, pixels: Tensor, region: Box, tiles: Sequence[Tile] | None = None) -> Tensor:
        """Labels (1 or K, S) of ``region``, each pixel's from one tile; arguments as of ``probabilities``.

        Needs a grid whose tiles do not overlap. Where no tile is computed, labels are anything.
        """
        canvas = LabelCanvas(self.head, averaged=self.averages)
        self._fill(canvas, pixels, region, tiles)
        assert canvas.labels is not None, "at least one tile"
        return canvas.labels

    @torch.inference_mode()
    def probabilities(self, pixels: Tensor, region: Box, tiles: Sequence[Tile] | None = None) -> Tensor:
        """Probabilities (K, S) of ``region``, float32; of a regression, its values.

        Args:
            pixels: (C, *spatial) of the region's read box, on the device.
            region: what is computed, with outer axes of one pixel.
            tiles: those of the region to compute, in a fixed order, as float sums depend on it; None is all.
        """
        canvas = ProbabilityCanvas(self.weights)
        self._fill(canvas, pixels, region, tiles)
        return canvas.probabilities

    @torch.inference_mode()
    def one_tile(self, pixels: Tensor) -> Tensor:
        """Probabilities (K, T) of one tile anywhere, from the pixels (C, *input) that it sees."""
        return self._probabilities(pixels[None])[0]

    def _fill(
        self,
        canvas: LabelCanvas | ProbabilityCanvas,
        pixels: Tensor,
        region: Box,
        tiles: Sequence[Tile] | None,
    ) -> None:
        tiles = self.grid.tiles(region) if tiles is None else tiles
        origin, flat = self.grid.read_box(region).start, last_axes(region, self.dims)
        logits_do = isinstance(canvas, LabelCanvas) and not self.averages
        for part in (tiles[first : first + self.batch] for first in range(0, len(tiles), self.batch)):
            cuts = [last_axes(tile.read.relative_to(origin), self.dims).slices for tile in part]
            x_NCS = stacked([pixels[(slice(None), *cut)] for cut in cuts])
            found = self._logits(x_NCS) if logits_do else self._probabilities(x_NCS)
            for tile, found_KT in zip(part, found, strict=True):
                canvas.add(found_KT, last_axes(tile.write, self.dims), flat)

    def _logits(self, x: Tensor) -> Tensor:
        """(N, K, T) of the only network, good until its next call."""
        return self._cropped(self._called(self.networks[0], x), x)

    def _probabilities(self, x: Tensor) -> Tensor:
        """(N, K, T), averaged over networks and views."""
        pairs = itertools.product(self.networks, self.views)
        found = [self._seen(network, x, view) for network, view in pairs]
        return found[0] if len(found) == 1 else torch.stack(found).mean(dim=0)

    def _seen(self, network: Network, x: Tensor, view: View) -> Tensor:
        logits = view.back(self._called(network, view.of(x)))
        # Values of a regression are the logits themselves, which the next call may overwrite.
        own = logits.clone() if self.head == "regression" else logits
        return heads.probabilities(self._cropped(own, x), self.head)

    def _called(self, network: Network, x: Tensor) -> Tensor:
        """Logits of a batch of any length up to ``batch``; halved, and halved again, when memory ends."""
        if self.fixed_batch:
            padding = x.new_zeros((self.batch - len(x), *x.shape[1:]))
            return network(torch.cat([x, padding]) if len(padding) else x)[: len(x)]
        try:
            return network(x)
        except torch.OutOfMemoryError:
            if len(x) == 1:
                raise
        torch.cuda.empty_cache()
        half = len(x) // 2
        return torch.cat([self._called(network, x[:half]), self._called(network, x[half:])])

    def _cropped(self, logits: Tensor, x: Tensor) -> Tensor:
        """The tiles' own pixels of outputs that are as large as the inputs, or smaller by the margins."""
        slices = [slice(None), slice(None)]
        for axis in range(-self.dims, 0):
            start = self.grid.before[axis] if logits.shape[axis] == x.shape[axis] else 0
            slices.append(slice(start, start + self.grid.tile[axis]))
        return logits[tuple(slices)]


def last_axes(box: Box, dims: int) -> Box:
    """``box`` on its last ``dims`` axes."""
    return Box(box.start[-dims:], box.stop[-dims:])

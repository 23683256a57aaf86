"""Sliding window: networks over the tiles of a region, put together on their device.

Prediction, validation in training and ``verify --untiled`` all compute regions here: margins are cropped,
flips and turns averaged and tiles put onto a canvas in this one place.

>>> spec = ModelSpec(in_channels=1, classes=("dark", "bright"))
>>> def network(tiles):                                     # (N, C, *input) to (N, K, *input) logits
...     return torch.cat([100 - tiles.float(), tiles.float() - 100], dim=1)
>>> grid = TileGrid((50, 70), tile=(32, 32), step=(32, 32), before=(8, 8), after=(8, 8), multiple=(1, 1))
>>> window = SlidingWindow([network], spec, grid, batch=4, tta=False, device="cpu")
>>> region = Box((0, 0), (32, 64))
>>> hull = np.full((1, *grid.read_box(region).shape), 120, np.uint8)    # with the margins of all tiles
>>> window.probabilities(window.to_device(hull), region)[:, 0, 0].round().tolist()  # (K, *region)
[0.0, 1.0]

Shapes: N tiles of a call, C channels, K classes, S spatial axes of a region, T of a tile.
"""

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unet_batch.devices.device import Device, open_device
from unet_batch.inference.canvas import LabelCanvas, ProbabilityCanvas, decide, stacked
from unet_batch.inference.program import Program
from unet_batch.inference.views import Averaging, View, views
from unet_batch.models import heads
from unet_batch.models.spec import ModelSpec
from unet_batch.tiling import Box, Tile, TileGrid
from unet_batch.tiling.blend import weights

Network = Callable[[Tensor], Tensor]
"""(N, C, *input) pixels as stored to (N, K, *output) logits, which a next call may overwrite.

The output is as large as the input, or smaller by the margins at most, alike on both sides.
"""


MOST_HALVINGS = 12

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Form:
    """How a batch is computed: so many tiles a call, each halved so often. Less memory, other last bits."""

    tiles: int
    halvings: int = 0

    def smaller(self) -> "Form":
        """The next that takes less memory."""
        return Form(max(1, self.tiles // 2)) if self.tiles > 1 else replace(self, halvings=self.halvings + 1)


class SlidingWindow:
    """Networks of one ``spec`` over the tiles of ``grid``. Threads may share it where they share networks.

    Args:
        networks: their probabilities are averaged.
        spec: their common description.
        grid: tiles with their margins. Outer axes, over which a 2-D network goes plane by plane, come first.
        batch: tiles per call.
        tta: what each tile is averaged over.
        device: where pixels, networks and results are.
        batches: of ``any`` length; ``full`` where networks take exactly ``batch`` tiles, so that fewer are
            filled up; ``captured`` where networks stay as they are: a device that can captures a full batch
            as one piece of work.

    Attributes:
        form: how batches are computed. It starts as the whole batch and shrinks where memory does not
            suffice: fewer tiles a call, then smaller tiles on the same lattice.
        difference: largest difference of a probability that shrinking was seen to make; None without any.
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
        batches: Literal["any", "full", "captured"] = "any",
    ) -> None:
        self.networks, self.head, self.dims = networks, spec.head, spec.dims
        self.grid, self.batch, self.full = grid, batch, batches == "full"
        self.views = views(spec.dims, tta)
        self.device: Device = open_device(str(device))
        self.captured = batches == "captured" and self.device.asynchronous
        self.multiple, self.fixed_size = grid.multiple[-spec.dims :], spec.receptive_field().fixed is not None
        self.weights = self.device.upload(
            torch.from_numpy(weights(grid.tile[-spec.dims :], grid.step[-spec.dims :]))
        )
        self.form = Form(batch)
        self.difference: float | None = None
        self._programs: dict[tuple[bool, torch.dtype], Program] = {}

    @property
    def averages(self) -> bool:
        """Whether several networks or views are averaged."""
        return len(self.networks) * len(self.views) > 1

    @property
    def remark(self) -> str:
        """What shrinking did, in a line; empty where memory sufficed."""
        if self.difference is None:
            return ""
        parts = f", each in {2**self.form.halvings} parts" if self.form.halvings else ""
        return (
            f"memory of {self.device.name} sufficed for {self.form.tiles} of {self.batch} tiles a call{parts}"
            f"; largest difference of a probability measured: {self.difference:.2g}"
        )

    def to_device(self, hull: NDArray[Any]) -> Tensor:
        """(C, S) on the device, from pixels (C, *read box) as stored; outer axes have one pixel and go."""
        native = np.require(hull, dtype=hull.dtype.newbyteorder("="), requirements=["C", "W"])
        pixels = torch.from_numpy(native.reshape(native.shape[0], *native.shape[-self.dims :]))
        return self.device.upload(pixels)

    @torch.inference_mode()
    def labels(self, pixels: Tensor, region: Box, tiles: Sequence[Tile] | None = None) -> Tensor:
        """Labels (1 or K, S) of ``region``, each pixel's from one tile; arguments as of ``probabilities``.

        Needs a grid whose tiles do not overlap. Where no tile is computed, labels are anything.
        """
        canvas = LabelCanvas()
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
        decided = isinstance(canvas, LabelCanvas)
        for part in (tiles[first : first + self.batch] for first in range(0, len(tiles), self.batch)):
            cuts = [last_axes(tile.read.relative_to(origin), self.dims).slices for tile in part]
            seen = [pixels[(slice(None), *cut)] for cut in cuts]
            for tile, found in zip(part, self._batch(seen, decided=decided), strict=True):
                canvas.add(found, last_axes(tile.write, self.dims), flat)

    def _batch(self, seen: Sequence[Tensor], *, decided: bool) -> Sequence[Tensor]:
        """Labels (1 or K, T) or probabilities (K, T) of tiles, in smaller forms once memory has ended."""
        while True:
            try:
                if self.captured:
                    return self._replayed(seen, decided=decided)
                return list(self._results(stacked(seen), decided=decided))
            except torch.OutOfMemoryError:
                self._programs.clear()
                self._shrink(stacked(seen))

    def _replayed(self, seen: Sequence[Tensor], *, decided: bool) -> Sequence[Tensor]:
        """As ``_results``, by a captured program."""
        key = (decided, seen[0].dtype)
        if key not in self._programs:
            compute = partial(self._results, decided=decided)
            self._programs[key] = Program.of(self.device, self.batch, seen[0], compute)
        return self._programs[key](seen)

    def _results(self, x: Tensor, *, decided: bool) -> Iterator[Tensor]:
        logits_do = decided and not self.averages
        found = self._formed(x, self._logits if logits_do else self._probabilities, self.form)
        return (decide(one, self.head, averaged=self.averages) if decided else one for one in found)

    def _formed(self, x: Tensor, compute: Callable[[Tensor], Tensor], form: Form) -> Tensor:
        """``compute(x)``, in as many calls as ``form`` says."""
        calls = [self._halved(part, compute, form.halvings) for part in torch.split(x, form.tiles)]
        return calls[0] if len(calls) == 1 else torch.cat(calls)

    def _halved(self, x: Tensor, compute: Callable[[Tensor], Tensor], halvings: int) -> Tensor:
        """``compute(x)`` from tiles halved along their longest axis, so often, on the same lattice."""
        if not halvings:
            return compute(x)
        margins = [self.grid.before[k] + self.grid.after[k] for k in range(-self.dims, 0)]
        extents = [x.shape[k - self.dims] - margins[k] for k in range(self.dims)]
        axis = max(range(self.dims), key=lambda k: extents[k] // self.multiple[k])
        units = extents[axis] // self.multiple[axis]
        if units < 2 or self.fixed_size:
            raise torch.OutOfMemoryError(
                f"{self.device.name}: memory does not suffice for one tile of {extents}; use a smaller tile, "
                "or a device with more memory"
            )
        first, dim = units // 2 * self.multiple[axis], axis - self.dims
        parts = (
            x.narrow(dim, 0, first + margins[axis]),
            x.narrow(dim, first, extents[axis] - first + margins[axis]),
        )
        return torch.cat([self._halved(part, compute, halvings - 1) for part in parts], dim=dim)

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
        """Logits of a batch of any length; filled up for networks that take one length."""
        if not self.full or len(x) == self.form.tiles:
            return network(x)
        padding = x[:1].expand(self.form.tiles - len(x), *x.shape[1:])
        return network(torch.cat([x, padding]))[: len(x)]

    def _cropped(self, logits: Tensor, x: Tensor) -> Tensor:
        """The tiles' own pixels of outputs that are as large as the inputs, or smaller by margins at most."""
        slices = [slice(None), slice(None)]
        for axis in range(-self.dims, 0):
            before = self.grid.before[axis]
            extent = x.shape[axis] - before - self.grid.after[axis]
            start = before - (x.shape[axis] - logits.shape[axis]) // 2
            slices.append(slice(start, start + extent))
        return logits[tuple(slices)]

    def _shrink(self, like: Tensor) -> None:
        """Go on in a smaller form, and measure on the tiles ``like`` what a further step would change.

        Raises:
            torch.OutOfMemoryError: there is none.
        """
        self.device.release()
        self.form = self.form.smaller()
        while True:
            try:
                now = self._formed(like, self._probabilities, self.form)
                break
            except torch.OutOfMemoryError:
                if self.form.tiles == 1 and self.form.halvings > MOST_HALVINGS:
                    raise
                self.device.release()
                self.form = self.form.smaller()
        try:
            further = self._formed(like, self._probabilities, self.form.smaller())
            self.difference = float((now - further).abs().max())
        except torch.OutOfMemoryError:  # nothing smaller is there
            self.difference = 0.0
        logger.warning("memory ended; tiles are computed as %s", self.form)


def last_axes(box: Box, dims: int) -> Box:
    """``box`` on its last ``dims`` axes."""
    return Box(box.start[-dims:], box.stop[-dims:])

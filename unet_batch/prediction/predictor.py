"""Predictor: the pixels of one block in, what the store holds of it out; all between is on one device.

Shapes: C channels in, K classes out, S spatial axes. The block travels to the device once, as it is stored;
only classes (and quantised probabilities, if asked for) come back.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unet_batch.inference.canvas import decide
from unet_batch.inference.sliding_window import SlidingWindow
from unet_batch.models.runtime import Runtime
from unet_batch.prediction.networks import ready_networks
from unet_batch.prediction.plan import Plan
from unet_batch.store.pyramid import halve_labels, halve_mean
from unet_batch.tiling import Box, Tile

NO_DATA = 255
FEW_CLASSES = 16  # up to here comparing with each class is faster than counting in bins
OVERFLOW = "fp16 overflowed, so some labels are wrong; predict anew with precision=bf16 or precision=fp32"
QUANTA = NO_DATA - 1  # a probability p is stored as round(254 p)


@dataclass(frozen=True, slots=True)
class Answer:
    """A block on the device: labels (1 or K, S), probabilities (K, S) where kept, and which pixels count."""

    labels: Tensor
    probabilities: Tensor | None
    keep: Tensor | None


@dataclass(frozen=True, slots=True)
class Computed:
    """A block as it is stored: for every layer one (C, *box) array per level, and pixels per class.

    ``remark`` says where it was computed otherwise than planned.
    """

    arrays: dict[str, list[NDArray[Any]]]
    counts: tuple[int, ...]
    remark: str = ""


class Predictor:
    """The networks of a plan on one device, which ``calls`` threads may ask at once.

    Args:
        plan: what to compute.
        models: paths of the checkpoints, in the plan's order.
        runtime: where and how they run.
        levels: levels that a block writes itself.
        fill: label of pixels without data.

    Attributes:
        calls: how many threads may ask the networks at once.
    """

    def __init__(
        self,
        plan: Plan,
        models: Sequence[str],
        runtime: Runtime,
        levels: int,
        fill: float,
    ) -> None:
        self.plan, self.device, self.levels, self.fill = plan, runtime.device, levels, fill
        self.dims, compute = plan.spec.dims, plan.compute
        networks = ready_networks(plan, models, runtime)
        self.calls = min(network.calls for network in networks)
        self._flags = [flag for network in networks if (flag := network.overflowed) is not None]
        self.window = SlidingWindow(
            networks,
            plan.spec,
            plan.tiles,
            batch=compute.batch,
            tta=compute.tta,
            device=runtime.device,
            batches="captured" if compute.backend in ("eager", "fused") else "full",
        )

    def answer(self, hull: NDArray[Any], region: Box, valid: NDArray[np.bool_] | None = None) -> Answer:
        """What the networks say of the block ``region``, from the pixels (C, *read box) of its tiles.

        Tiles without a pixel where ``valid`` (region's shape) is True are not computed.
        """
        tiles = [tile for tile in self.plan.tiles.tiles(region) if _wanted(tile, region, valid)]
        with torch.inference_mode():
            self._clear_flags()
            labels, probabilities = self._answer(self.window.to_device(hull), region, tiles)
            keep = None if valid is None else self.window.device.upload(torch.from_numpy(self.spatial(valid)))
            return Answer(labels, probabilities, keep)

    def computed(self, answer: Answer, region: Box) -> Computed:
        """The block as it is stored; pixels that do not count come out as no data. Asks no network."""
        with torch.inference_mode():
            return self._computed(answer.labels, answer.probabilities, answer.keep, region)

    def probabilities(self, hull: NDArray[Any], region: Box) -> NDArray[np.float32]:
        """(K, S) of ``region``, merged as the plan says, neither quantised nor masked."""
        return self.window.probabilities(self.window.to_device(hull), region).cpu().numpy()

    def one_pass(self, pixels_CS: NDArray[Any]) -> NDArray[np.float32]:
        """(K, tile): the answer for one tile anywhere, from the pixels (C, *read box) that it sees."""
        return self.window.one_tile(self.window.to_device(pixels_CS)).cpu().numpy()

    def labels(self, probabilities_KS: NDArray[np.float32]) -> NDArray[Any]:
        """What the store holds where the network answers ``probabilities``."""
        answer = torch.from_numpy(probabilities_KS)
        return np.asarray(decide(answer, self.plan.spec.head, averaged=True).numpy())

    def _answer(self, pixels: Tensor, region: Box, tiles: Sequence[Tile]) -> tuple[Tensor, Tensor | None]:
        """Labels (1 or K, S) and, where the plan needs them, probabilities (K, S)."""
        head, output = self.plan.spec.head, self.plan.output
        if self.plan.compute.merge == "crop" and not (output.probabilities or output.confidence):
            return self.window.labels(pixels, region, tiles), None
        probabilities = self.window.probabilities(pixels, region, tiles)
        return decide(probabilities, head, averaged=True), probabilities

    def _layers(self, labels: Tensor, probabilities: Tensor | None, keep: Tensor | None) -> dict[str, Tensor]:
        """The finest level of each layer; pixels that do not count are no data."""
        output = self.plan.output
        if keep is not None:
            labels = torch.where(keep, labels, torch.full_like(labels, self.fill))
        layers = {"labels": labels}
        if output.probabilities and probabilities is not None:
            layers["probabilities"] = _quantised(probabilities, keep)
        if output.confidence and probabilities is not None:
            layers["confidence"] = _quantised(probabilities.amax(dim=0, keepdim=True), keep)
        return layers

    def _computed(
        self, labels: Tensor, probabilities: Tensor | None, keep: Tensor | None, region: Box
    ) -> Computed:
        layers = self._layers(labels, probabilities, keep)
        outer = region.shape[: -self.dims]
        host = {
            name: [to_host(part, outer) for part in self._levels(name, pixels)]
            for name, pixels in layers.items()
        }
        overflowed = any(bool(flag) for flag in self._flags)
        return Computed(host, self._counts(host["labels"][0]), self.remark(overflowed=overflowed))

    def remark(self, *, overflowed: bool) -> str:
        """What a person should know of a block; empty where it was computed as planned."""
        return "; ".join(filter(None, (self.window.remark, OVERFLOW if overflowed else "")))

    def _clear_flags(self) -> None:
        for flag in self._flags:
            flag.zero_()

    def layers(
        self, pixels: Tensor, keep: Tensor | None, region: Box, valid: NDArray[np.bool_] | None
    ) -> tuple[dict[str, list[Tensor]], dict[str, Tensor]]:
        """All levels of all layers and what is told of them, on the device and without waiting for it.

        Told are ``counts``, the pixels per class, and ``overflowed`` (networks in fp16), whether they did.

        Args:
            pixels: (C, *spatial) of the region's read box.
            keep: which pixels of the region count (*spatial), None for all.
            region: the block.
            valid: as ``keep``, on the host.
        """
        tiles = [tile for tile in self.plan.tiles.tiles(region) if _wanted(tile, region, valid)]
        with torch.inference_mode():
            self._clear_flags()
            labels, probabilities = self._answer(pixels, region, tiles)
            found = self._layers(labels, probabilities, keep)
            told = {"counts": self._counted(found["labels"])}
            if self._flags:
                told["overflowed"] = torch.stack(self._flags)
            return {name: self._levels(name, one) for name, one in found.items()}, told

    def _levels(self, name: str, pixels: Tensor) -> list[Any]:
        """All levels of a layer; on the CPU by numpy: torch makes threads wait for each other every step."""
        xp: Any = torch if pixels.is_cuda else np
        parts: list[Any] = [pixels if pixels.is_cuda else pixels.numpy()]
        axes, regression = range(-self.dims, 0), self.plan.spec.head == "regression"
        if name == "labels" and not regression:
            halve = partial(halve_labels, axes=axes, fill=int(self.fill), xp=xp)
        else:
            halve = partial(halve_mean, axes=axes, nodata=self.fill if name == "labels" else NO_DATA, xp=xp)
        while len(parts) < self.levels:
            parts.append(halve(parts[-1]))
        return parts

    def _counts(self, labels: NDArray[Any]) -> tuple[int, ...]:
        """Pixels per class; of a regression, pixels with a value."""
        match self.plan.spec.head:
            case "multiclass":
                classes = self.plan.spec.out_channels
                if classes <= FEW_CLASSES:
                    return tuple(int(np.count_nonzero(labels == k)) for k in range(classes))
                return tuple(np.bincount(labels.reshape(-1), minlength=int(self.fill) + 1)[:classes].tolist())
            case "multilabel":
                return tuple(int(np.count_nonzero(channel == 1)) for channel in labels)
            case _:
                return (int(np.count_nonzero(labels[0] == labels[0])),)  # NaN is no value, and not itself

    def _counted(self, labels: Tensor) -> Tensor:
        """As ``_counts``, on the device."""
        match self.plan.spec.head:
            case "multiclass":
                classes = self.plan.spec.out_channels
                if classes <= FEW_CLASSES:
                    return torch.stack([(labels == k).sum() for k in range(classes)])
                flat = labels.reshape(-1).long()
                counts = flat.new_zeros(int(self.fill) + 1)
                return counts.scatter_add_(0, flat, torch.ones_like(flat))[:classes]
            case "multilabel":
                return (labels == 1).flatten(1).sum(dim=1)
            case _:
                return (~labels[0].isnan()).sum().reshape(1)

    def spatial(self, array: NDArray[Any]) -> NDArray[Any]:
        """``array`` without its outer axes, which have one pixel in a block."""
        lead = array.shape[: array.ndim - len(self.plan.image.shape)]
        return array.reshape(lead + array.shape[array.ndim - self.dims :])


def _wanted(tile: Tile, region: Box, valid: NDArray[np.bool_] | None) -> bool:
    common = tile.write.intersect(region)
    return valid is None or bool(valid[common.relative_to(region.start).slices].any())


def _quantised(probabilities: Tensor, keep: Tensor | None) -> Tensor:
    values = (probabilities.clamp(0, 1) * QUANTA).round().to(torch.uint8)
    return values if keep is None else torch.where(keep, values, torch.full_like(values, NO_DATA))


def to_host(pixels: Any, outer: Sequence[int]) -> NDArray[Any]:
    """(C, *block) as it is stored, from what is or comes to be in the host's memory."""
    array = pixels.cpu().numpy() if isinstance(pixels, Tensor) else pixels
    if array.dtype == np.int32:  # more classes than uint8 holds; torch computes little in uint16
        array = array.astype(np.uint16)
    return np.asarray(array.reshape(array.shape[0], *outer, *array.shape[1:]))

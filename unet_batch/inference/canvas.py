"""Canvases: where what networks say of tiles becomes one region, on the device.

Pixels are copied by one thread on the CPU. torch parts a copy of a megabyte among threads, which then wait
for each other: beside a network on the same two cores each megapixel took 11 ms of them, where one thread
needs less than one.

Shapes: K classes, S spatial axes of the region, T of a tile. Boxes here have spatial axes only.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from unet_batch.models import heads
from unet_batch.models.heads import Head
from unet_batch.tiling import Box


class LabelCanvas:
    """Labels alone, each pixel from one tile: nothing of K channels is ever kept for a whole region.

    Where no tile is added, labels are anything.
    """

    def __init__(self) -> None:
        self.labels: Tensor | None = None

    def add(self, labels: Tensor, write: Box, region: Box) -> None:
        """Take the labels (1 or K, T) of a tile that writes ``write`` into ``region``."""
        if self.labels is None:
            self.labels = labels.new_empty((labels.shape[0], *region.shape))
        common = write.intersect(region)
        _put(self.labels, _at(common, region), labels[_at(common, write)])


class ProbabilityCanvas:
    """Weighted mean of the probabilities of all tiles that touch a pixel."""

    def __init__(self, weights_T: Tensor) -> None:
        self.weights = weights_T
        self.total: Tensor | None = None
        self.weight: Tensor | None = None

    def add(self, found_KT: Tensor, write: Box, region: Box) -> None:
        """Add the probabilities of a tile; always in the same order, as float sums depend on it."""
        if self.total is None or self.weight is None:
            self.total = found_KT.new_zeros((found_KT.shape[0], *region.shape))
            self.weight = found_KT.new_zeros(region.shape)
        common = write.intersect(region)
        part = self.weights[_at(common, write)[1:]]
        self.total[_at(common, region)] += found_KT[_at(common, write)] * part
        self.weight[_at(common, region)[1:]] += part

    @property
    def probabilities(self) -> Tensor:
        """(K, S); 0 where no tile wrote."""
        assert self.total is not None
        assert self.weight is not None
        return self.total / torch.where(self.weight > 0, self.weight, torch.ones_like(self.weight))


def decide(found_KT: Tensor, head: Head, *, averaged: bool) -> Tensor:
    """(1, T) classes, (K, T) zeros and ones, or (K, T) values, from logits or mean probabilities."""
    if averaged and head == "multilabel":
        found_KT = found_KT - 0.5  # heads.labels decides at logit 0
    labels = heads.labels(found_KT[None], head)
    return labels if head == "multiclass" else labels[0]


def _at(common: Box, origin: Box) -> tuple[slice, ...]:
    return (slice(None), *common.relative_to(origin.start).slices)


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """``parts`` of one shape along a new first axis."""
    if parts[0].device.type == "cpu":
        return torch.from_numpy(np.stack([part.numpy() for part in parts]))
    return torch.stack(list(parts))


def _put(target: Tensor, at: tuple[slice, ...], values: Tensor) -> None:
    """``target[at] = values``."""
    if target.device.type == "cpu":
        target.numpy()[at] = values.numpy()
    else:
        target[at] = values

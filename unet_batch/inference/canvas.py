"""Canvases: where the answers for tiles become one block, on the device.

Shapes: K classes, S spatial axes of the block, T of a tile. Boxes here have spatial axes only.
"""

import torch
from torch import Tensor

from unet_batch.inference.copies import put
from unet_batch.models import heads
from unet_batch.models.heads import Head
from unet_batch.tiling import Box


class LabelCanvas:
    """Labels alone, each pixel from one tile: nothing of K channels is ever kept for a whole block.

    Where no tile is added, labels are anything.
    """

    def __init__(self, head: Head, *, averaged: bool) -> None:
        self.head, self.averaged = head, averaged
        self.labels: Tensor | None = None

    def add(self, answer_KT: Tensor, write: Box, region: Box) -> None:
        """Take the labels of a tile that writes ``write`` into ``region``."""
        labels = decide(answer_KT, self.head, averaged=self.averaged)
        if self.labels is None:
            self.labels = labels.new_empty((labels.shape[0], *region.shape))
        common = write.intersect(region)
        put(self.labels, _at(common, region), labels[_at(common, write)])


class ProbabilityCanvas:
    """Weighted mean of the probabilities of all tiles that touch a pixel."""

    def __init__(self, weights_T: Tensor) -> None:
        self.weights = weights_T
        self.total: Tensor | None = None
        self.weight: Tensor | None = None

    def add(self, answer_KT: Tensor, write: Box, region: Box) -> None:
        """Add the probabilities of a tile; always in the same order, as float sums depend on it."""
        if self.total is None or self.weight is None:
            self.total = answer_KT.new_zeros((answer_KT.shape[0], *region.shape))
            self.weight = answer_KT.new_zeros(region.shape)
        common = write.intersect(region)
        part = self.weights[_at(common, write)[1:]]
        self.total[_at(common, region)] += answer_KT[_at(common, write)] * part
        self.weight[_at(common, region)[1:]] += part

    @property
    def probabilities(self) -> Tensor:
        """(K, S); 0 where no tile wrote."""
        assert self.total is not None
        assert self.weight is not None
        return self.total / torch.where(self.weight > 0, self.weight, torch.ones_like(self.weight))


def decide(answer_KT: Tensor, head: Head, *, averaged: bool) -> Tensor:
    """(1, T) classes, (K, T) zeros and ones, or (K, T) values, from logits or mean probabilities."""
    if averaged and head == "multilabel":
        answer_KT = answer_KT - 0.5  # heads.labels decides at logit 0
    labels = heads.labels(answer_KT[None], head)
    return labels if head == "multiclass" else labels[0]


def _at(common: Box, origin: Box) -> tuple[slice, ...]:
    return (slice(None), *common.relative_to(origin.start).slices)

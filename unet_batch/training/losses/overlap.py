"""Soft Dice and Tversky over all labelled pixels of the whole batch, one value per class.

Sums are [overlap, predicted, true] of every class, so the value is that of the global batch on every rank.
Shapes: N batch, K classes or channels, S spatial axes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from unet_batch.models import heads
from unet_batch.models.heads import Head
from unet_batch.training.losses.target import Target


@dataclass(frozen=True, slots=True)
class Overlap:
    """One less the mean Tversky index (Salehi et al. 2017, arXiv:1706.05721); 0.5 and 0.5 make it Dice.

    Attributes:
        head: whether classes exclude each other.
        alpha: cost of a false positive.
        beta: cost of a false negative.
        smooth: pixels added above and below.
        background: whether the first of exclusive classes counts.
    """

    head: Head
    alpha: float
    beta: float
    smooth: float
    background: bool

    def sums(self, logits: Tensor, target: Target) -> Tensor:
        """(3 K,): overlap, predicted and true pixels, weighted."""
        found = heads.probabilities(logits, self.head)
        true, weight = target.values, target.weight
        if self.head == "multiclass":
            classes = torch.arange(logits.shape[1], device=logits.device)
            true = (true.unsqueeze(1) == classes.view(-1, *(1,) * (true.ndim - 1))).float()
            weight = weight.unsqueeze(1)
        axes = (0, *range(2, logits.ndim))
        weighed = weight * found
        return torch.cat([(weighed * true).sum(axes), weighed.sum(axes), (weight * true).sum(axes)])

    def weight(self, target: Target) -> Tensor:
        """What each pixel counts."""
        return target.weight

    def value(self, sums: Tensor) -> Tensor:
        """From 0, perfect, to 1."""
        overlap, found, true = sums.view(3, -1)
        wrong = self.alpha * (found - overlap) + self.beta * (true - overlap)
        index: Tensor = (overlap + self.smooth) / (overlap + wrong + self.smooth)
        if self.head == "multiclass" and not self.background:
            index = index[1:]
        return 1 - index.mean()

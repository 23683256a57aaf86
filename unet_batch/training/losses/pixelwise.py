"""Losses that are weighted means over pixels: their sums are [sum of weight * loss, sum of weights].

Shapes: N batch, K classes or channels, S spatial axes. Logits are float32 (N, K, S).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from unet_batch.training.losses.target import Target


def mean(sums: Tensor) -> Tensor:
    """The weighted mean; 0 where nothing is labelled."""
    above, below = sums
    found: Tensor = above / below.clamp(min=torch.finfo(below.dtype).tiny)
    return found


@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Softmax cross-entropy; ``gamma`` above 0 makes it the focal loss (Lin et al. 2017, arXiv:1708.02002).

    With class weights the mean is over pixels times the weight of their class, as torch has it.
    """

    class_weights: tuple[float, ...] | None
    gamma: float = 0.0

    def sums(self, logits: Tensor, target: Target) -> Tensor:
        """See the module."""
        weight = self.weight(target)
        loss = functional.cross_entropy(logits, target.values, reduction="none")
        if self.gamma:
            loss = loss * missed(loss) ** self.gamma
        return torch.stack([(weight * loss).sum(), weight.sum()])

    def weight(self, target: Target) -> Tensor:
        """What each pixel counts."""
        if self.class_weights is None:
            return target.weight
        return target.weight * target.weight.new_tensor(self.class_weights)[target.values]

    value = staticmethod(mean)


@dataclass(frozen=True, slots=True)
class BinaryCrossEntropy:
    """Sigmoid cross-entropy of every channel; ``gamma`` as for the focal loss."""

    class_weights: tuple[float, ...] | None
    gamma: float = 0.0

    def sums(self, logits: Tensor, target: Target) -> Tensor:
        """See the module."""
        weight = self.weight(target)
        loss = functional.binary_cross_entropy_with_logits(logits, target.values, reduction="none")
        if self.gamma:
            loss = loss * missed(loss) ** self.gamma
        return torch.stack([(weight * loss).sum(), weight.sum()])

    def weight(self, target: Target) -> Tensor:
        """What each value counts."""
        if self.class_weights is None:
            return target.weight
        factors = target.weight.new_tensor(self.class_weights)
        return target.weight * factors.view(-1, *(1,) * (target.weight.ndim - 2))

    value = staticmethod(mean)


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean magnitude (l1), square (l2) or Huber loss of the difference."""

    kind: Literal["l1", "l2", "huber"]
    delta: float

    def sums(self, logits: Tensor, target: Target) -> Tensor:
        """See the module."""
        match self.kind:
            case "l1":
                loss = functional.l1_loss(logits, target.values, reduction="none")
            case "l2":
                loss = functional.mse_loss(logits, target.values, reduction="none")
            case _:
                loss = functional.huber_loss(logits, target.values, reduction="none", delta=self.delta)
        return torch.stack([(target.weight * loss).sum(), target.weight.sum()])

    def weight(self, target: Target) -> Tensor:
        """What each value counts."""
        return target.weight

    value = staticmethod(mean)


def missed(loss: Tensor) -> Tensor:
    """1 - p of a cross-entropy -log p, without loss of digits near 0, where a root has no slope either."""
    return -torch.expm1(-loss).clamp(max=-torch.finfo(loss.dtype).tiny)

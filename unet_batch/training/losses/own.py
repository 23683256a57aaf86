"""OwnTerm: a loss that a caller wrote, as a term of the objective."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unet_batch.errors import InputError
from unet_batch.training.losses.target import Target
from unet_batch.training.losses.terms import mean

OwnLoss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits, labels, weights) to one number, the mean over what has a weight.

logits: float32 (N, K, S). labels: class numbers (N, S) as int64, or floats (N, L, S); 0 where unlabelled.
weights: float32 of the labels' shape, 0 where unlabelled. K classes, L channels, S spatial axes.
"""


@dataclass(frozen=True, slots=True)
class OwnTerm:
    """``function`` of each part of a batch, averaged over parts and ranks by what they weigh."""

    function: OwnLoss

    def sums(self, logits: Tensor, target: Target) -> Tensor:
        """The loss times its weight, and the weight."""
        found = self.function(logits, target.values, target.weight)
        if not isinstance(found, Tensor) or found.numel() != 1:
            what = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"train(): loss gives {what}; it must give one number, such as a mean")
        mass = target.weight.sum()
        return torch.stack([found.reshape(()).float() * mass, mass])

    def weight(self, target: Target) -> Tensor:
        """What each pixel counts."""
        return target.weight

    value = staticmethod(mean)

"""WeightedLoss: a weighted sum of terms, each a value of sums over the whole batch of all ranks.

Because a term's value is computed from sums that were added up over the ranks, it is the same number on every
rank, and its gradient is that of one process with the whole batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unet_batch.errors import ConfigError
from unet_batch.models.spec import ModelSpec
from unet_batch.training.losses.config import LossConfig
from unet_batch.training.losses.target import Target
from unet_batch.training.losses.terms import (
    BinaryCrossEntropy,
    CrossEntropy,
    Difference,
    Dissimilarity,
    Overlap,
)

Total = Callable[[Tensor], Tensor]
"""Sums of this rank to those of all ranks, with a gradient: ``Ranks.sum_with_gradient``."""

KINDS = {
    "multiclass": ("cross_entropy", "dice", "dice_ce", "focal", "tversky"),
    "multilabel": ("bce_dice", "bce", "dice", "focal", "tversky"),
    "regression": ("l2", "l1", "huber", "ssim"),
}

WEIGHTED = ("cross_entropy", "dice_ce", "focal", "bce", "bce_dice")


class Term(Protocol):
    """One loss."""

    def sums(self, logits: Tensor, target: Target) -> Tensor:
        """What the value follows from, as a vector that may be added up over parts of a batch."""
        ...

    def value(self, sums: Tensor) -> Tensor:
        """The loss from sums over everything."""
        ...

    def weight(self, target: Target) -> Tensor:
        """What each pixel counts."""
        ...


@dataclass(frozen=True, slots=True)
class WeightedLoss:
    """``terms`` with their factors."""

    terms: tuple[tuple[float, Term], ...]

    def __call__(self, logits: Sequence[Tensor], target: Target, total: Total) -> Tensor:
        """The loss of the whole batch.

        Args:
            logits: logits (N, K, S) of this rank; further ones, of coarser levels, count half as much each
                as the one before.
            target: of this rank.
            total: adds up over the ranks.
        """
        parts = [term.sums(one.float(), target) for one in logits for _, term in self.terms]
        sums = iter(torch.split(total(torch.cat(parts)), [len(part) for part in parts]))
        losses = [
            sum((factor * term.value(next(sums)) for factor, term in self.terms), torch.zeros(()))
            for _ in logits
        ]
        shares = [0.5**level for level in range(len(losses))]
        return sum((s * loss for s, loss in zip(shares, losses, strict=True)), torch.zeros(())) / sum(shares)

    def mass(self, target: Target) -> Tensor:
        """How much there is to learn from in ``target``: by this, parts of a batch are averaged."""
        return self.terms[0][1].weight(target).sum()


def make_loss(config: LossConfig, spec: ModelSpec) -> WeightedLoss:
    """The objective that ``config`` asks for.

    Raises:
        ConfigError: a kind that does not fit the head, or as many class weights as there are no classes.
    """
    allowed = KINDS[spec.head]
    kind = allowed[0] if config.kind == "auto" else config.kind
    if kind not in allowed:
        raise ConfigError(
            f"objective.kind: {kind} does not fit a {spec.head} head; choose {', '.join(allowed)}"
        )
    weights = config.class_weights
    if weights is not None and len(weights) != len(spec.classes):
        raise ConfigError(
            f"objective.class_weights: {len(weights)} weights for {len(spec.classes)} classes; give one each"
        )
    if weights is not None and kind not in WEIGHTED:
        raise ConfigError(f"objective.class_weights: have no meaning for {kind}; leave them out")
    dice = Overlap(spec.head, 0.5, 0.5, config.smooth, config.background)
    gamma = config.gamma if kind == "focal" else 0.0
    entropy = (CrossEntropy if spec.head == "multiclass" else BinaryCrossEntropy)(weights, gamma)
    match kind:
        case "cross_entropy" | "bce" | "focal":
            return WeightedLoss(((1.0, entropy),))
        case "dice_ce" | "bce_dice":
            return WeightedLoss(((1.0, entropy), (config.dice_weight, dice)))
        case "dice":
            return WeightedLoss(((1.0, dice),))
        case "tversky":
            overlap = Overlap(spec.head, config.alpha, config.beta, config.smooth, config.background)
            return WeightedLoss(((1.0, overlap),))
        case "ssim":
            return WeightedLoss(((1.0, Dissimilarity(config.window, config.data_range)),))
        case "l1" | "l2" | "huber":
            return WeightedLoss(((1.0, Difference(kind, config.delta)),))
        case _:
            raise ConfigError(f"objective.kind: {kind} is not known; choose {', '.join(allowed)}")

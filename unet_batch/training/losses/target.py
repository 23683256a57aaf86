"""Target: labels as the objective takes them, with a weight of zero where nothing is known.

Shapes: N batch, L channels of labels, S spatial axes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from unet_batch.models.heads import Head


@dataclass(frozen=True, slots=True)
class Target:
    """What the network should answer, and how much each pixel counts.

    Attributes:
        values: class numbers (N, S) as int64, 0 where unlabelled; or floats (N, L, S), 0 where unlabelled.
        weight: float32 of the same shape; 0 where unlabelled.
    """

    values: Tensor
    weight: Tensor

    @classmethod
    def of(cls, labels: Tensor, weights: Tensor | None, head: Head, fill: float) -> "Target":
        """From labels, (N, S) class numbers or (N, L, S), with ``fill`` where unlabelled, NaN for floats.

        ``weights`` (N, S) are factors of the pixels; None counts all alike.
        """
        known = ~labels.isnan() if head == "regression" else labels != fill
        weight = known.float()
        if weights is not None:
            factors = weights if head == "multiclass" else weights.unsqueeze(1)
            weight = weight * torch.where(known, factors, torch.zeros_like(factors))
        values = torch.where(known, labels, torch.zeros_like(labels))
        return cls(values.long() if head == "multiclass" else values.float(), weight)

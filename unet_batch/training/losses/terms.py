"""The terms of a loss: cross-entropies, overlaps (Dice, Tversky), differences and SSIM.

Shapes: N batch, K classes, L channels of labels, S spatial axes.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from unet_batch.devices.device import sent
from unet_batch.models import heads
from unet_batch.models.heads import Head
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
        loss = functional.cross_entropy(logits, target.values, reduction="none")
        return focal_sums(loss, self.weight(target), self.gamma)

    def weight(self, target: Target) -> Tensor:
        """What each pixel counts."""
        if self.class_weights is None:
            return target.weight
        return target.weight * _factors(self.class_weights, target.weight.device)[target.values]

    value = staticmethod(mean)


@dataclass(frozen=True, slots=True)
class BinaryCrossEntropy:
    """Sigmoid cross-entropy of every channel; ``gamma`` as for the focal loss."""

    class_weights: tuple[float, ...] | None
    gamma: float = 0.0

    def sums(self, logits: Tensor, target: Target) -> Tensor:
        """See the module."""
        loss = functional.binary_cross_entropy_with_logits(logits, target.values, reduction="none")
        return focal_sums(loss, self.weight(target), self.gamma)

    def weight(self, target: Target) -> Tensor:
        """What each value counts."""
        if self.class_weights is None:
            return target.weight
        factors = _factors(self.class_weights, target.weight.device)
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


def _factors(class_weights: tuple[float, ...], place: torch.device) -> Tensor:
    return sent(torch.tensor(class_weights), place)


def focal_sums(loss: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """(2,) weighted sum of a cross-entropy, by ``gamma`` the less of what is sure, and the sum of weights."""
    if gamma:
        loss = loss * missed(loss) ** gamma
    return torch.stack([(weight * loss).sum(), weight.sum()])


def missed(loss: Tensor) -> Tensor:
    """1 - p of a cross-entropy -log p, without loss of digits near 0, where a root has no slope either."""
    return -torch.expm1(-loss).clamp(max=-torch.finfo(loss.dtype).tiny)


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


_K1, _K2 = 0.01, 0.03  # Wang et al. 2004, as all implementations have them


@dataclass(frozen=True, slots=True)
class Dissimilarity:
    """Wang et al. 2004 with uniform windows of ``window`` pixels; weights are those of a window's centre."""

    window: int
    data_range: float

    def sums(self, logits: Tensor, target: Target) -> Tensor:
        """[sum of weight * (1 - SSIM), sum of weights] over the windows."""
        known = target.weight > 0
        x = torch.where(known, logits, torch.zeros_like(logits))
        y = target.values
        mean_x, mean_y = self._means(x), self._means(y)
        var_x = self._means(x * x) - mean_x**2
        var_y = self._means(y * y) - mean_y**2
        both = self._means(x * y) - mean_x * mean_y
        c1, c2 = (_K1 * self.data_range) ** 2, (_K2 * self.data_range) ** 2
        above = (2 * mean_x * mean_y + c1) * (2 * both + c2)
        below = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
        weight = self.weight(target)
        return torch.stack([(weight * (1 - above / below)).sum(), weight.sum()])

    def weight(self, target: Target) -> Tensor:
        """What each window counts."""
        rim = self.window // 2
        inside = (slice(None), slice(None), *(slice(rim, n - rim) for n in target.weight.shape[2:]))
        # Of a window wholly labelled the mean of ones is one, to rounding.
        whole = self._means((target.weight > 0).float()) > 1 - 0.5 / self.window**3
        return target.weight[inside] * whole

    value = staticmethod(mean)

    def _means(self, x: Tensor) -> Tensor:
        pool = functional.avg_pool2d if x.ndim == 4 else functional.avg_pool3d
        return pool(x, self.window, stride=1)

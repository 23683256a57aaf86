"""Structural dissimilarity of regression targets: 1 - SSIM, from windows whose pixels are all labelled.

Shapes: N batch, K channels, S spatial axes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from unet_batch.training.losses.pixelwise import mean
from unet_batch.training.losses.target import Target

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

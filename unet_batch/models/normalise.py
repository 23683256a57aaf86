"""Normalisation that training and prediction share: one offset and scale per channel, never per tile.

Shapes: N batch, C channels, then the spatial axes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unet_batch.models.spec import MeanStd, ModelSpec, Percentiles

if TYPE_CHECKING:
    from torch import Tensor

PercentilesOf = Callable[[Sequence[float]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Affine:
    """y = (x - offset) * scale, one pair per channel."""

    offset: tuple[float, ...]
    scale: tuple[float, ...]


def affine_for(spec: ModelSpec, percentiles_of: PercentilesOf) -> Affine:
    """What ``spec`` asks of one image; ``percentiles_of(q)`` gives the image's (C, len(q)) if that is needed.

    A channel without range (constant, or without any data) is shifted only: its scale is 1.
    """
    match spec.normalisation:
        case MeanStd(mean=mean, std=std):
            repeat_mean, repeat_std = spec.in_channels // len(mean), spec.in_channels // len(std)
            return Affine(mean * repeat_mean, tuple(1 / value for value in std) * repeat_std)
        case Percentiles(percentiles=wanted):
            rows = np.asarray(percentiles_of(wanted), dtype=np.float64).tolist()
            pairs = [_stretch(low, high) for low, high in rows]
            return Affine(tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs))
        case _:
            return Affine((0.0,) * spec.in_channels, (1.0,) * spec.in_channels)


def apply(
    x: "Tensor", affine: Affine, offset: "Tensor | None" = None, scale: "Tensor | None" = None
) -> "Tensor":
    """``x`` (N, C, *spatial) of any real type as normalised float32, on its own device.

    ``offset`` and ``scale`` are those of ``affine`` as tensors there, of shape (1, C, 1, ...), from whoever
    calls often.
    """
    import torch  # noqa: PLC0415 - the affine itself needs none

    from unet_batch.devices.device import sent  # noqa: PLC0415 - imports torch

    if not any(affine.offset) and set(affine.scale) == {1.0}:
        return x.to(torch.float32, copy=True)
    if offset is None or scale is None:
        per_channel = (1, -1) + (1,) * (x.ndim - 2)
        offset = sent(torch.tensor(affine.offset, dtype=torch.float32), x.device).view(per_channel)
        scale = sent(torch.tensor(affine.scale, dtype=torch.float32), x.device).view(per_channel)
    return x.to(torch.float32, copy=True).sub_(offset).mul_(scale)


def stored(
    x: "Tensor", affine: Affine, offset: "Tensor | None" = None, scale: "Tensor | None" = None
) -> "Tensor":
    """As ``apply``, but 0 where ``x`` is NaN: no data, which would spread over a network's reach."""
    found = apply(x, affine, offset, scale)
    return found.nan_to_num_(nan=0.0) if x.is_floating_point() else found


def _stretch(low: float, high: float) -> tuple[float, float]:
    if not (isfinite(low) and isfinite(high)):
        return 0.0, 1.0
    return low, 1 / (high - low) if high > low else 1.0

"""Changes of intensity: gamma, brightness, contrast, stains, noise, blur."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unet_batch.devices.device import open_device, sent
from unet_batch.training.augment.parameters import AugmentParameters

# Optical density in red, green and blue (columns) of each stain (rows).
_STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11], [0.27, 0.57, 0.78]])


def jittered(rgb_CS: Tensor, factors: tuple[float, ...], addends: tuple[float, ...]) -> Tensor:
    """Values 0 to 255, (3, *spatial) float32, with each stain times its factor plus its addend."""
    # Density d = s M of stains s becomes (s F + a) M = d (M^-1 F M) + a M: one 3 x 3 matrix per sample.
    mixed = np.linalg.inv(_STAINS) @ np.diag(factors) @ _STAINS
    density = (rgb_CS + 1).div_(256).log_().neg_()
    changed: Tensor = torch.tensordot(_tensor(mixed.T, rgb_CS), density, dims=1)
    changed += _tensor(np.asarray(addends) @ _STAINS, rgb_CS).view(-1, *(1,) * (rgb_CS.ndim - 1))
    return changed.neg_().exp_().mul_(256).sub_(1).clamp_(0, 255)


def _tensor(values: NDArray[np.float64], like: Tensor) -> Tensor:
    return sent(torch.as_tensor(values, dtype=like.dtype), like.device)


_TINY = 1e-6
# Noise has a generator of its own, on the device: what else was drawn must not show in it.
_NOISE_SEED = 0x9E3779B97F4A7C15


def change(x_NCS: Tensor, drawn: Sequence[AugmentParameters], seeds: Sequence[int], unit: float) -> None:
    """All that was drawn for each sample, from grey to cutout; ``unit`` is one standard deviation."""
    for x_CS, one, seed in zip(x_NCS, drawn, seeds, strict=True):
        if one.grey is not None:
            x_CS.copy_(torch.tensordot(x_CS.new_tensor(one.grey), x_CS, dims=1).expand_as(x_CS).clone())
        if one.invert:
            _mirror(x_CS)
        if one.gamma is not None:
            _gamma(x_CS, one.gamma)
        if one.contrast is not None or one.shift is not None:
            _linear(x_CS, one.contrast or 1.0, [unit * s for s in one.shift or ()])
        if one.blur is not None:
            _blur(x_CS, one.blur)
        if one.noise is not None:
            _noise(x_CS, one.noise * unit, seed)
        if one.cutout:
            _cutout(x_CS, one)


def _mirror(x_CS: Tensor) -> None:
    axes = tuple(range(1, x_CS.ndim))
    x_CS.neg_().sub_(x_CS.amin(axes, keepdim=True) + x_CS.amax(axes, keepdim=True))


def _gamma(x_CS: Tensor, power: float) -> None:
    axes = tuple(range(1, x_CS.ndim))
    # torch 2.13's aminmax along an axis takes ten times as long on CPUs as these two.
    low, high = x_CS.amin(axes, keepdim=True), x_CS.amax(axes, keepdim=True)
    span = (high - low).clamp_min(_TINY)
    x_CS.sub_(low).div_(span).pow_(power).mul_(span).add_(low)


def _linear(x_CS: Tensor, factor: float, shift: Sequence[float]) -> None:
    """Distances from the mean times ``factor``; ``shift`` of each channel on top."""
    added = _mean(x_CS) * (1 - factor)
    if shift:
        added += _tensor(np.asarray(shift), x_CS).view_as(added)
    x_CS.mul_(factor).add_(added)


def _noise(x_CS: Tensor, std: float, seed: int) -> None:
    generator = open_device(str(x_CS.device)).generator((seed ^ _NOISE_SEED) % 2**63)
    x_CS.add_(torch.randn(x_CS.shape, generator=generator, device=x_CS.device), alpha=std)


def _blur(x_CS: Tensor, sigma: float) -> None:
    """A Gaussian of three sigmas to either side, one axis after another; mirrored past the border."""
    radius = math.ceil(3 * sigma)
    taps = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(radius + 1)]
    total = taps[0] + 2 * sum(taps[1:])
    for axis in range(1, x_CS.ndim):
        n = x_CS.shape[axis]
        wide = x_CS.index_select(axis, _mirrored(n, radius, x_CS.device))
        torch.mul(wide.narrow(axis, radius, n), taps[0] / total, out=x_CS)
        for i in range(1, radius + 1):
            for start in (radius - i, radius + i):
                x_CS.add_(wide.narrow(axis, start, n), alpha=taps[i] / total)


def _mirrored(n: int, radius: int, device: torch.device) -> Tensor:
    """Positions -radius to n + radius on an axis of ``n`` pixels, mirrored as often as it takes."""
    period = max(2 * n - 2, 1)
    position = torch.arange(-radius, n + radius, device=device).abs() % period
    return torch.minimum(position, period - position).clamp_(0, n - 1)


def _cutout(x_CS: Tensor, drawn: AugmentParameters) -> None:
    mean = _mean(x_CS)
    for start, extent in drawn.cutout:
        box = tuple(
            slice(round(s * n), round((s + e) * n))
            for s, e, n in zip(start, extent, x_CS.shape[1:], strict=True)
        )
        x_CS[(slice(None), *box)] = mean


def _mean(x_CS: Tensor) -> Tensor:
    return x_CS.mean(dim=tuple(range(1, x_CS.ndim)), keepdim=True)

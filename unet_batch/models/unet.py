"""The U-Net of Ronneberger et al. 2015 (2-D) and Cicek et al. 2016 (3-D), as a spec describes it.

Shapes: N batch, C channels, then the spatial axes (YX or ZYX).
"""

from torch import Tensor, cat, nn

from unet_batch.models.layers import (
    InterpolatedUp,
    Residual,
    centre_crop,
    convolution,
    convolutions,
    pooling,
    transposed,
)
from unet_batch.models.spec import ModelSpec


class UNet(nn.Module):
    """Normalised float input (N, C, *spatial) to logits; see ``ModelSpec.reach`` for the legal sizes."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        ends = _level_channels(spec)
        self.encoder = nn.ModuleList(_contracting(spec, level) for level in range(spec.depth))
        self.pool = pooling(spec.dims)
        self.bottom = _contracting(spec, spec.depth)
        self.dropout = nn.Dropout(spec.dropout)
        self.up = nn.ModuleList(_up(spec, ends[level + 1]) for level in range(spec.depth))
        self.decoder = nn.ModuleList(_expanding(spec, level) for level in range(spec.depth))
        self.head = convolution(spec.dims, ends[0], spec.out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of ``x``."""
        return self.head(self.features(x))  # type: ignore[no-any-return]  # modules are called through Any

    def features(self, x: Tensor, coarser: list[Tensor] | None = None) -> Tensor:
        """What the head sees; what enters each up-sampling is added to ``coarser``, coarsest first."""
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
            x = self.pool(x)
        x = self.dropout(self.bottom(x))
        for up, block, skip in zip(reversed(self.up), reversed(self.decoder), reversed(skips), strict=True):
            if coarser is not None:
                coarser.append(x)
            x = up(x)
            x = block(cat([centre_crop(skip, x.shape[2:]), x], dim=1))
        return x


def _level_channels(spec: ModelSpec) -> list[int]:
    """Channels that leave each contracting level, finest first, the bottom last."""
    first = spec.width if spec.growth == "after_pool" else 2 * spec.width
    return [first << level for level in range(spec.depth + 1)]


def _contracting(spec: ModelSpec, level: int) -> nn.Module:
    ends = _level_channels(spec)
    entering = ends[level - 1] if level else spec.in_channels
    middle = ends[level] if spec.growth == "after_pool" else spec.width << level
    return _block(spec, [entering, middle, ends[level]])


def _expanding(spec: ModelSpec, level: int) -> nn.Module:
    ends = _level_channels(spec)
    entering = ends[level] + _up_channels(spec, ends[level + 1])
    return _block(spec, [entering, ends[level], ends[level]])


def _block(spec: ModelSpec, channels: list[int]) -> nn.Module:
    kind = Residual if spec.blocks == "residual" else convolutions
    return kind(spec.dims, channels, _padding(spec), spec.norm)


def _up(spec: ModelSpec, channels: int) -> nn.Module:
    given = _up_channels(spec, channels)
    if spec.up == "interpolated":
        return InterpolatedUp(spec.dims, channels, given, spec.up_bias, crop=spec.padding == "valid")
    return transposed(spec.dims, channels, given, spec.up_bias)


def _up_channels(spec: ModelSpec, channels: int) -> int:
    return channels if spec.up_channels == "kept" else channels // 2


def _padding(spec: ModelSpec) -> int:
    return 1 if spec.padding == "same" else 0

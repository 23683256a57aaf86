"""Building blocks that 2-D and 3-D networks share. The only place that knows which torch class is which.

Shapes: N batch, C channels, then the spatial axes (YX or ZYX).
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

Dims = Literal[2, 3]
Norm = Literal["none", "batch", "instance", "group"]


class _Convolution3d(nn.Conv3d):
    """nn.Conv3d whose gradient can be trusted.

    torch 2.13 on the CPU: the bf16 gradient of a padded 3-px kernel's weights holds memory that nobody wrote
    (often NaN) where the input is two pixels deep, and only there. float32 is right, and such inputs small.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and x.shape[2] == 2 and x.device.type == "cpu"):
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())


_CONV: dict[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: _Convolution3d}
_UP: dict[int, type[nn.ConvTranspose2d | nn.ConvTranspose3d]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_POOL: dict[int, type[nn.MaxPool2d | nn.MaxPool3d]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}


def convolution(dims: Dims, channels_in: int, channels_out: int, size: int, padding: int = 0) -> nn.Module:
    """A convolution of ``size`` pixels per axis, zero-padded by ``padding``."""
    return _CONV[dims](channels_in, channels_out, size, padding=padding)


def convolutions(dims: Dims, channels: Sequence[int], padding: int, norm: Norm) -> nn.Sequential:
    """3-px convolution, norm and ReLU for each step of ``channels``."""
    layers: list[nn.Module] = []
    for channels_in, channels_out in pairwise(channels):
        layers.append(convolution(dims, channels_in, channels_out, 3, padding))
        layers.extend(_normalisation(dims, channels_out, norm))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class Residual(nn.Module):
    """``convolutions`` whose result is added to their input before the last ReLU.

    The input takes a 1-px convolution where channels change, and loses what unpadded convolutions take.
    Source: arXiv:1512.03385.
    """

    def __init__(self, dims: Dims, channels: Sequence[int], padding: int, norm: Norm) -> None:
        super().__init__()
        first, last = channels[0], channels[-1]
        self.shortcut: nn.Module = (
            nn.Identity()
        )  # made first: what asks for the last convolution means body's
        if first != last:
            projection = convolution(dims, first, last, 1)
            self.shortcut = nn.Sequential(projection, *_normalisation(dims, last, norm))
        self.body = nn.Sequential(*list(convolutions(dims, channels, padding, norm))[:-1])
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *spatial) to what ``convolutions`` would give in shape."""
        found = self.body(x)
        return self.relu(found + self.shortcut(centre_crop(x, found.shape[2:])))  # type: ignore[no-any-return]


def pooling(dims: Dims) -> nn.Module:
    """2-px maximum pooling."""
    return _POOL[dims](2)


def transposed(dims: Dims, channels_in: int, channels_out: int, bias: bool) -> nn.Module:
    """2-px up-convolution: each coarse pixel alone makes its fine ones."""
    return _UP[dims](channels_in, channels_out, 2, stride=2, bias=bias)


class InterpolatedUp(nn.Module):
    """1-px convolution and linear interpolation to twice the size.

    ``crop`` removes the outermost pixel per side, where interpolation clamps to the edge and so would differ
    from what a larger tile gives.
    """

    def __init__(self, dims: Dims, channels_in: int, channels_out: int, bias: bool, crop: bool) -> None:
        super().__init__()
        self.conv = _CONV[dims](channels_in, channels_out, 1, bias=bias)
        self.mode = _LINEAR[dims]
        self.crop = crop

    def forward(self, x: Tensor) -> Tensor:
        """Up-sample (N, C, *spatial)."""
        # The two commute (interpolation weights sum to one); on the coarse grid the convolution is cheaper.
        fine = nn.functional.interpolate(self.conv(x), scale_factor=2.0, mode=self.mode, align_corners=False)
        return centre_crop(fine, [size - 2 for size in fine.shape[2:]]) if self.crop else fine


def centre_crop(x: Tensor, size: Sequence[int]) -> Tensor:
    """The centre of ``x`` (N, C, *spatial) with ``size`` pixels on the spatial axes; a view."""
    for axis, wanted in enumerate(size, start=2):
        x = x.narrow(axis, (x.shape[axis] - wanted) // 2, wanted)
    return x


def initialise(model: nn.Module) -> None:
    """He initialisation: normal weights of std sqrt(2 / N), N inputs to a unit; zero biases.

    Source: arXiv:1502.01852, as the U-Net paper asks. A residual block begins as its shortcut alone, so that
    values do not grow from block to block (arXiv:1706.02677).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
            nn.init.normal_(module.weight, std=math.sqrt(2 / _inputs_of(module)))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for block in model.modules():
        if isinstance(block, Residual):
            last = block.body[-1].weight  # of its norm, or of its convolution where it has none
            assert isinstance(last, Tensor)
            nn.init.zeros_(last)


def _inputs_of(module: nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d) -> float:
    taps: float = math.prod(module.kernel_size)
    if isinstance(module, nn.ConvTranspose2d | nn.ConvTranspose3d):
        taps /= math.prod(module.stride)  # of a transposed kernel only every stride-th tap meets a unit
    return module.in_channels * taps


def _normalisation(dims: Dims, channels: int, norm: Norm) -> list[nn.Module]:
    match norm:
        case "batch":
            return [nn.BatchNorm2d(channels) if dims == 2 else nn.BatchNorm3d(channels)]
        case "instance":
            kind = nn.InstanceNorm2d if dims == 2 else nn.InstanceNorm3d
            return [kind(channels, affine=True)]
        case "group":
            return [nn.GroupNorm(math.gcd(8, channels), channels)]
        case _:
            return []


def channels_last(dims: Dims) -> torch.memory_format:
    """The memory format that convolutions of ``dims`` dimensions run fastest in."""
    return torch.channels_last if dims == 2 else torch.channels_last_3d

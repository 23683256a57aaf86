"""Batch norm over the batches of all ranks: torch's own on GPUs, and the same for CPUs, where torch has none.

Towards the end of a training statistics can be fixed to what predictions will use.

Shapes: N batch, C channels, S spatial axes.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd import Function


def convert_sync_batchnorm(model: nn.Module, device: torch.device) -> nn.Module:
    """``model`` with batch norms that see all ranks; their names and weights stay."""
    if device.type == "cuda":
        converted: nn.Module = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
        return converted
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
                setattr(parent, name, CpuSyncBatchNorm(child))
    return model


def fix_statistics(model: nn.Module) -> None:
    """Let batch norms use their running statistics until ``model.train()``; their weights go on learning."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm | CpuSyncBatchNorm):
            module.eval()


class CpuSyncBatchNorm(nn.Module):
    """A batch norm whose mean and variance are those of all ranks; takes the weights of ``norm``."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, norm: nn.BatchNorm2d | nn.BatchNorm3d) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        self.momentum = 0.0 if norm.momentum is None else norm.momentum
        self.eps = norm.eps
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        """``x`` (N, C, S) normalised in float32, in its own type."""
        if not self.training:
            mean, variance = self.running_mean, self.running_var
        else:
            mean, variance = self._measured(x.float())
        shape = (1, -1) + (1,) * (x.ndim - 2)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return (x.float() * scale.view(shape) + shift.view(shape)).to(x.dtype)

    def _measured(self, x: Tensor) -> tuple[Tensor, Tensor]:
        axes = (0, *range(2, x.ndim))
        count = x.new_full((1,), x.numel() / x.shape[1])
        # Deviations from the running mean keep digits that sums of large squares would lose.
        about = self.running_mean.detach().clone()
        deviation = x - about.view(1, -1, *(1,) * (x.ndim - 2))
        sums = torch.cat([deviation.sum(axes), (deviation**2).sum(axes), count])
        total: Tensor = _Sum.apply(sums)  # type: ignore[no-untyped-call]  # untyped upstream
        first, second, pixels = torch.split(total, [x.shape[1], x.shape[1], 1])
        offset = first / pixels
        variance = second / pixels - offset**2
        self._follow(about + offset.detach(), variance.detach() * pixels / (pixels - 1).clamp(min=1))
        return about + offset, variance.clamp(min=0)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


class _Sum(Function):
    """Adds up over the ranks; the gradients of all ranks' answers are added up on the way back."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        del ctx
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        del ctx
        return _summed(gradient)


def _summed(values: Tensor) -> Tensor:
    """The sum over all ranks."""
    summed = values.clone()
    dist.all_reduce(summed)
    return summed

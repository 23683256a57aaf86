"""Deep supervision and activation checkpointing: what training adds to a network, and nothing keeps.

Shapes: N batch, C channels, K classes, then the spatial axes.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from unet_batch.errors import ConfigError
from unet_batch.models.layers import centre_crop, convolution, initialise
from unet_batch.models.spec import ModelSpec
from unet_batch.models.unet import UNet
from unet_batch.training.norm import CpuSyncBatchNorm


class Supervised(nn.Module):
    """A network whose ``levels`` coarser decoder levels answer too, each through a 1-px head of its own.

    The forward pass gives logits (N, K, *output) of all of them, the network's own first, enlarged to its
    size. With ``levels`` 0 it is the network alone.
    """

    def __init__(self, network: nn.Module, spec: ModelSpec, levels: int, seed: int = 0) -> None:
        super().__init__()
        self.network, self.levels = network, levels
        self.mode = "bilinear" if spec.dims == 2 else "trilinear"
        self.heads = nn.ModuleList()
        if levels:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                self.heads.extend(_heads(network, spec, levels))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits, finest first."""
        if not self.levels:
            return [self.network(x)]
        assert isinstance(self.network, UNet)
        coarser: list[Tensor] = []
        answer = self.network.head(self.network.features(x, coarser))
        finer_first = coarser[::-1][: self.levels]
        return [answer, *(self._enlarged(*pair, answer) for pair in enumerate(finer_first, start=1))]

    def _enlarged(self, level: int, features: Tensor, answer: Tensor) -> Tensor:
        # All levels have one centre: they see the input less margins that are alike on both sides.
        logits = self.heads[level - 1](features)
        fine = functional.interpolate(logits, scale_factor=float(1 << level), mode=self.mode)
        return centre_crop(fine, answer.shape[2:])


def _heads(network: nn.Module, spec: ModelSpec, levels: int) -> Iterator[nn.Module]:
    if not isinstance(network, UNet) or levels >= spec.depth:
        raise ConfigError(
            f"run.deep_supervision: {levels} levels, but only a unet has them and this one {spec.depth - 1}; "
            "lower it or set it to 0"
        )
    for block in list(network.decoder)[1 : levels + 1]:
        convolutions = [m for m in block.modules() if isinstance(m, nn.Conv2d | nn.Conv3d)]
        head = convolution(spec.dims, convolutions[-1].out_channels, spec.out_channels, 1)
        initialise(head)
        yield head


def checkpoint_activations(network: nn.Module) -> None:
    """Keep only what enters each block of convolutions; the backward pass computes the rest again."""
    for name in ("encoder", "bottom", "decoder"):
        blocks = getattr(network, name, None)
        for block in blocks if isinstance(blocks, nn.ModuleList) else filter(None, [blocks]):
            block.forward = partial(_recomputed, block, block.forward)


def _recomputed(block: nn.Module, forward: Any, x: Tensor) -> Any:
    if not block.training:
        return forward(x)
    contexts = partial(_contexts, block)
    return checkpoint(forward, x, use_reentrant=False, context_fn=contexts)


def _contexts(block: nn.Module) -> tuple[Any, Any]:
    return nullcontext(), _steady_norms(block)


@contextmanager
def _steady_norms(block: nn.Module) -> Iterator[None]:
    """Running statistics follow a batch once, not again when it is computed again."""
    kinds = nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm | CpuSyncBatchNorm
    norms = [module for module in block.modules() if isinstance(module, kinds)]
    before = [
        (norm, norm.momentum, seen, seen.clone())
        for norm in norms
        if (seen := norm.num_batches_tracked) is not None
    ]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum, seen, seen_before in before:
            norm.momentum = momentum
            seen.copy_(seen_before)

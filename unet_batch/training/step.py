"""Step: one update of the weights from one batch. Knows no data, no files, no schedule of its own.

Shapes: N batch, K classes, S spatial axes.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from unet_batch.training.config import OptimiserConfig
from unet_batch.training.distributed import Ranks, losing
from unet_batch.training.ema import EMA
from unet_batch.training.losses.target import Target
from unet_batch.training.losses.weighted_sum import WeightedLoss
from unet_batch.training.norm import fix_statistics


@dataclass(frozen=True, slots=True)
class Part:
    """One of the parts that a rank's share of a batch is computed in: normalised images (N, C, S), target."""

    images: Tensor
    target: Target


@dataclass(frozen=True, slots=True)
class Outcome:
    """The loss of the whole batch and the norm of its gradient before clipping; whether weights moved."""

    loss: float
    gradient: float
    moved: bool


@dataclass(slots=True)
class Step:
    """Forward, backward and update.

    Attributes:
        network: what learns, as it is stored; gives a list of logits.
        called: the same, compiled and parallel.
        objective: what is made small.
        optimiser: of the parameters of ``network``.
        scaler: of the loss, for fp16; does nothing otherwise.
        average: follows the weights, or None.
        ranks: who takes part.
        dtype: what autocast computes in, None for float32.
        layout: memory format of the images.
        clip: largest norm of the gradient.
        fixed_from: number of the first update with fixed statistics of batch norms.
    """

    network: nn.Module
    called: nn.Module
    objective: WeightedLoss
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: EMA | None
    ranks: Ranks
    dtype: torch.dtype | None
    layout: torch.memory_format
    clip: float | None
    fixed_from: float = math.inf

    def __call__(self, parts: Sequence[Part], number: int, rate: float) -> Outcome:
        """Update number ``number`` (from 0) at learning rate ``rate``.

        Where the loss or its gradient is no finite number, on all ranks alike, everything stays as it was.
        """
        self.called.train()
        if number >= self.fixed_from:
            self._fix_statistics()
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        loss = self._gradient(parts)
        norm = self._norm()
        value = float(loss)
        moved = math.isfinite(value) and (math.isfinite(norm) or self.scaler.is_enabled())
        if moved:
            self._update(number, rate)
        else:
            self.scaler.update()
            for buffer, before in zip(self.network.buffers(), buffers, strict=True):
                buffer.copy_(before)
        self.optimiser.zero_grad(set_to_none=True)
        return Outcome(value, norm, moved)

    def _fix_statistics(self) -> None:
        """Batch norms use what predictions will use: the averages, which no longer move then."""
        if self.average is not None:
            for buffer, mean in zip(self.network.buffers(), self.average.network.buffers(), strict=True):
                buffer.copy_(mean)
        fix_statistics(self.network)

    def _gradient(self, parts: Sequence[Part]) -> Tensor:
        """The loss, with its gradient in the parameters; parts count by what there is to learn from them."""
        shares = self._shares(parts)
        total = torch.zeros((), device=self.ranks.device)
        for number, (part, share) in enumerate(zip(parts, shares, strict=True), start=1):
            with self._alone(until_last=number < len(parts)):
                with self._autocast():
                    answers = self.called(part.images.contiguous(memory_format=self.layout))
                loss = share * self.objective(answers, part.target, self.ranks.total)
                with losing(self.ranks):
                    self.scaler.scale(loss).backward()
            total += loss.detach()
        return total

    def _shares(self, parts: Sequence[Part]) -> Tensor:
        if len(parts) == 1:
            return torch.ones(1, device=self.ranks.device)
        masses = self.ranks.sum(torch.stack([self.objective.mass(part.target) for part in parts]))
        return masses / masses.sum().clamp(min=torch.finfo(masses.dtype).tiny)

    def _norm(self) -> float:
        """Of the unscaled gradient, which is clipped to ``clip``."""
        self.scaler.unscale_(self.optimiser)
        parameters = [p for p in self.network.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.clip, norm)
        return float(norm)

    def _update(self, number: int, rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.average is not None:
            self.average.follow(self.network, number)

    def _alone(self, *, until_last: bool) -> AbstractContextManager[None]:
        """Gradients of the parts stay here until the last one brings them to the other ranks."""
        if until_last and isinstance(self.called, DistributedDataParallel):
            return self.called.no_sync()
        return nullcontext()

    def _autocast(self) -> AbstractContextManager[object]:
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.ranks.device.type, self.dtype)


def make_optimiser(config: OptimiserConfig, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of ``network``; weight decay acts on weights of convolutions alone."""
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if config.kind == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)
    return torch.optim.SGD(
        groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.nesterov
    )

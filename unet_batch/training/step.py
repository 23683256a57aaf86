"""Step: one update of the weights from one batch. It knows no data, files or schedule.

Shapes: N batch, K classes, S spatial axes.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from unet_batch.training.distributed import Ranks, lost_rank_reported
from unet_batch.training.ema import EMA
from unet_batch.training.losses.target import Target
from unet_batch.training.losses.weighted_loss import WeightedLoss
from unet_batch.training.norm import fix_statistics


@dataclass(frozen=True, slots=True)
class Part:
    """One of the parts that a rank's share of a batch is computed in: normalised images (N, C, S), target."""

    images: Tensor
    target: Target


@dataclass(frozen=True, slots=True)
class StepResult:
    """What an update did: numbers on the device, which reading would wait for.

    Attributes:
        loss: of the whole batch of all ranks.
        gradient_norm: of its gradient, before clipping.
        updated: whether the weights were updated; not where one of these was no finite number.
    """

    loss: Tensor
    gradient_norm: Tensor
    updated: Tensor


@dataclass(slots=True)
class Step:
    """Forward, backward and update.

    Attributes:
        network: the network in training, as it is stored; gives a list of logits.
        parallel: the same network, compiled and wrapped in DistributedDataParallel where that is asked for.
        loss: what is minimised.
        optimiser: of the parameters of ``network``.
        scaler: of the loss, for fp16; does nothing otherwise.
        ema: moving average of the weights, or None.
        ranks: the processes that train together.
        dtype: what autocast computes in, None for float32.
        layout: memory format of the images.
        clip: largest norm of the gradient; None does not clip.
        fixed_from: number of the first update with fixed statistics of batch norms.
    """

    network: nn.Module
    parallel: nn.Module
    loss: WeightedLoss
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    ema: EMA | None
    ranks: Ranks
    dtype: torch.dtype | None
    layout: torch.memory_format
    clip: float | None
    fixed_from: float = math.inf

    def __call__(self, parts: Sequence[Part], number: int, rate: float) -> StepResult:
        """Update the weights: update number ``number`` (from 0), at learning rate ``rate``.

        Where the loss or its gradient is not finite, on all ranks alike, everything stays as it was. That is
        decided on the device: nothing here waits for it.

        Raises:
            RankError: another rank is gone.
        """
        self.parallel.train()
        if number >= self.fixed_from:
            self._fix_statistics()
        buffers = list(self.network.buffers())
        before = [buffer.clone() for buffer in buffers]
        loss = self._backward(parts)
        norm = self._norm()
        finite = loss.isfinite() & norm.isfinite()
        for buffer, kept in zip(buffers, before, strict=True):
            buffer.copy_(torch.where(finite, buffer, kept))
        self._update(number, rate, finite)
        self.optimiser.zero_grad(set_to_none=True)
        return StepResult(loss, norm, finite)

    def _fix_statistics(self) -> None:
        """Batch norms use what predictions will use: the averages, which no longer move then."""
        if self.ema is not None:
            for buffer, mean in zip(self.network.buffers(), self.ema.network.buffers(), strict=True):
                buffer.copy_(mean)
        fix_statistics(self.network)

    def _backward(self, parts: Sequence[Part]) -> Tensor:
        """The loss; its gradient is in the parameters. Parts count by their labelled pixels."""
        shares = self._shares(parts)
        total = torch.zeros((), device=self.ranks.device)
        for number, (part, share) in enumerate(zip(parts, shares, strict=True), start=1):
            with self._unsynced(unless_last=number < len(parts)):
                with self._autocast():
                    logits = self.parallel(part.images.contiguous(memory_format=self.layout))
                loss = share * self.loss(logits, part.target, self.ranks.sum_with_gradient)
                with lost_rank_reported(self.ranks):
                    self.scaler.scale(loss).backward()
            total += loss.detach()
        return total

    def _shares(self, parts: Sequence[Part]) -> Tensor:
        if len(parts) == 1:
            return torch.ones(1, device=self.ranks.device)
        masses = self.ranks.sum(torch.stack([self.loss.mass(part.target) for part in parts]))
        return masses / masses.sum().clamp(min=torch.finfo(masses.dtype).tiny)

    def _norm(self) -> Tensor:
        """Norm of the unscaled gradient; the gradient is then clipped to ``clip``."""
        self.scaler.unscale_(self.optimiser)
        parameters = [p for p in self.network.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.clip is not None:
            nn.utils.clip_grads_with_norm_(parameters, self.clip, norm)
        return norm

    def _update(self, number: int, rate: float, finite: Tensor) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        # Torch's fused optimisers read this on the device, as its own scaler has them do.
        self.optimiser.found_inf = (~finite).float()  # type: ignore[attr-defined]
        self.optimiser.step()
        self.scaler.update()
        if self.ema is not None:
            self.ema.update(self.network, number, finite)

    def _unsynced(self, *, unless_last: bool) -> AbstractContextManager[None]:
        """Gradients are exchanged between ranks once per update, with the last part."""
        wrapped = getattr(self.parallel, "_orig_mod", self.parallel)  # where it is compiled
        if unless_last and isinstance(wrapped, DistributedDataParallel):
            return wrapped.no_sync()
        return nullcontext()

    def _autocast(self) -> AbstractContextManager[object]:
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(self.ranks.device.type, self.dtype)

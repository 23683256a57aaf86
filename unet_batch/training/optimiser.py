"""Optimiser and learning-rate schedule. The rate follows from the step alone: there is no state to store."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from unet_batch.training.config import OptimiserConfig, ScheduleConfig


@dataclass(frozen=True, slots=True)
class LRScheduler:
    """The learning rate over a run.

    Attributes:
        schedule: its course.
        peak: the optimiser's learning rate, which the schedule scales.
        steps: updates of the whole run.
    """

    schedule: ScheduleConfig
    peak: float
    steps: int

    def __call__(self, step: int) -> float:
        """Learning rate for update number ``step``, from 0 to ``steps`` - 1."""
        return self.peak * self.factor(step)

    def factor(self, step: int) -> float:
        """The share of ``peak``, from 0 to 1, that update number ``step`` takes."""
        schedule = self.schedule
        if step < schedule.warmup:
            return (step + 1) / (schedule.warmup + 1)
        done = min(1.0, (step - schedule.warmup) / max(1, self.steps - schedule.warmup))
        match schedule.kind:
            case "poly":
                left = math.pow(1 - done, schedule.power)
            case "cosine":
                left = (1 + math.cos(math.pi * done)) / 2
            case _:
                return 1.0
        return schedule.final + (1 - schedule.final) * left


def make_optimiser(config: OptimiserConfig, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of the parameters of ``network``; weight decay acts on weights of convolutions alone.

    Torch's fused ones: they leave everything as it was where their attribute ``found_inf`` is 1, and read it
    on the device.
    """
    decayed = [p for p in network.parameters() if p.ndim > 1]
    free = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": free, "weight_decay": 0.0}]
    groups = [group for group in groups if group["params"]]
    if config.kind == "adamw":
        return torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas, fused=True)
    sgd = torch.optim.SGD(
        groups, lr=config.learning_rate, momentum=config.momentum, nesterov=config.nesterov, fused=True
    )
    # Left to torch, a first step that is skipped would leave momentum that nobody wrote.
    for parameter in network.parameters() if config.momentum else ():
        sgd.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return sgd

"""The learning rate as a function of the step alone, so that there is no state to keep. No torch."""

import math

from unet_batch.training.config import ScheduleConfig


def factor(config: ScheduleConfig, step: int, steps: int) -> float:
    """Of the optimiser's learning rate for ``step`` (0 to ``steps`` - 1)."""
    if step < config.warmup:
        return (step + 1) / (config.warmup + 1)
    done = min(1.0, (step - config.warmup) / max(1, steps - config.warmup))
    match config.kind:
        case "poly":
            left = math.pow(1 - done, config.power)
        case "cosine":
            left = (1 + math.cos(math.pi * done)) / 2
        case _:
            return 1.0
    return config.final + (1 - config.final) * left

"""EMA: exponential moving average of the weights in training."""

import copy

import torch
from torch import Tensor, nn


class EMA:
    """A copy of ``network`` whose parameters and batch norms' statistics are means over its steps.

    The statistics of the last few small batches say little of the whole: they are averaged as the weights
    are. The first steps count more than ``decay`` says, so that the random start is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int, finite: Tensor | None = None) -> None:
        """Take in the weights of ``network`` after update number ``step`` (from 0).

        ``finite``: whether there was an update, as a number on the device; None where there was.
        """
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        pairs = list(zip(_tensors(self.network), _tensors(network), strict=True))
        means = [(own, other.detach()) for own, other in pairs if own.is_floating_point()]
        changes = [other - own for own, other in means]
        if finite is None:
            torch._foreach_mul_(changes, weight)
        else:
            torch._foreach_mul_(changes, finite * weight)
        torch._foreach_add_([own for own, _ in means], changes)
        for own, other in pairs:
            if not own.is_floating_point():  # counts of batches
                own.copy_(other)

    def state_dict(self) -> dict[str, Tensor]:
        """Averaged weights and buffers."""
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take the averages from ``state``, which ``state_dict`` gave."""
        self.network.load_state_dict(state)


def _tensors(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]

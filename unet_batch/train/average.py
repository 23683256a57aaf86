"""Average: weights that follow those in training with a delay (exponential moving average)."""

import copy

import torch
from torch import Tensor, nn


class Average:
    """A copy of ``network`` whose parameters are means over its steps; buffers are the latest.

    The first steps count more than ``decay`` says, so that the random start is soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def follow(self, network: nn.Module, step: int) -> None:
        """Take in the weights after update number ``step`` (from 0)."""
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        mine: list[Tensor] = list(self.network.parameters())
        torch._foreach_lerp_(mine, [p.detach() for p in network.parameters()], weight)
        for own, other in zip(self.network.buffers(), network.buffers(), strict=True):
            own.copy_(other)

    def state_dict(self) -> dict[str, Tensor]:
        """Weights and buffers."""
        return self.network.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from ``state``."""
        self.network.load_state_dict(state)

"""Copies of pixels, on the CPU by one thread.

torch parts a copy of a megabyte among threads, which then wait for each other: beside a network on the same
two cores each megapixel took 11 ms of them, where one thread needs less than one.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Index = tuple[slice, ...]


def put(target: Tensor, at: Index, values: Tensor) -> None:
    """``target[at] = values``."""
    if target.device.type == "cpu":
        target.numpy()[at] = values.numpy()
    else:
        target[at] = values


def stacked(parts: Sequence[Tensor]) -> Tensor:
    """``parts`` of one shape along a new first axis."""
    if parts[0].device.type == "cpu":
        return torch.from_numpy(np.stack([part.numpy() for part in parts]))
    return torch.stack(list(parts))

"""From logits to what is stored: probabilities and labels.

Shapes: N batch, C classes or output channels, then the spatial axes.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

Head = Literal["multiclass", "multilabel", "regression"]

MOST_BYTE_CLASSES = 250  # labels of more classes do not fit uint8 beside its fill value


def probabilities(logits: Tensor, head: Head) -> Tensor:
    """(N, C, *spatial) float32: softmax over classes, a sigmoid each, or regression values as they are."""
    match head:
        case "multiclass":
            return logits.float().softmax(dim=1)
        case "multilabel":
            return logits.float().sigmoid()
        case _:
            return logits.float()


def labels(logits: Tensor, head: Head) -> Tensor:
    """What a mask holds, decided on the logits themselves.

    multiclass: the best class, (N, *spatial), uint8 up to 250 classes, else int32. multilabel:
    (N, C, *spatial) uint8, 1 where the probability exceeds one half. regression: (N, C, *spatial) float32.
    """
    match head:
        case "multiclass":
            return _best(logits, torch.uint8 if logits.shape[1] <= MOST_BYTE_CLASSES else torch.int32)
        case "multilabel":
            return _positive(logits)
        case _:
            return logits.float()


def _positive(logits: Tensor) -> Tensor:
    """1 where a logit is positive, else 0; on the CPU by one thread, for the reason that ``_best`` gives."""
    if logits.device.type != "cpu":
        return (logits > 0).to(torch.uint8)
    return torch.from_numpy((logits.float().numpy() > 0).view(np.uint8))


def _best(logits: Tensor, kind: torch.dtype) -> Tensor:
    """The first of the largest, (N, *spatial).

    As ``argmax``, but on the CPU many times sooner (3 x 1 Mpx: 3 ms, ``max().indices`` 7, ``argmax`` 110) and
    on one thread: where cores are busy, torch's threads wait for each other after every such small step.
    """
    if logits.device.type != "cpu":
        return logits.argmax(dim=1).to(kind)
    channels = np.moveaxis(logits.float().numpy(), 1, 0)
    highest = channels[0]
    best = np.zeros(highest.shape, np.uint8 if kind == torch.uint8 else np.int32)
    for number, channel in enumerate(channels[1:], start=1):
        np.maximum(best, (channel > highest) * best.dtype.type(number), out=best)
        highest = np.maximum(highest, channel)
    return torch.from_numpy(best)

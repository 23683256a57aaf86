"""Answers: from whatever a foreign network returns to logits of its input's size.

Shapes: N batch, C classes or output channels, then the spatial axes.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from unet_batch.errors import InputError
from unet_batch.models.spec import ModelSpec

Activation = Literal["none", "sigmoid", "softmax", "argmax"]

_LEAST = 1e-7  # a probability further from 0 and 1 than float32 rounds
_SURE = 16.0  # a logit whose probability rounds to 1 as it is stored
_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}


def named_outputs(answer: Any) -> dict[str, Tensor]:
    """The tensors in what a network returned, by key or position; a tensor alone is named ``""``.

    Raises:
        InputError: no tensor in it.
    """
    found = dict(_walk(answer, ""))
    if not found:
        raise InputError(
            f"the network gives a {type(answer).__name__} without tensors; export its forward pass"
        )
    return found


def choose(answer: Any, wanted: str | int | None) -> Tensor:
    """The tensor that ``wanted`` names; without a name, the only one.

    Raises:
        InputError: several and no name, or none of that name; it lists them.
    """
    if isinstance(answer, Tensor) and wanted is None:
        return answer
    found = named_outputs(answer)
    if wanted is None and len(found) == 1:
        return next(iter(found.values()))
    if str(wanted) in found and wanted is not None:
        return found[str(wanted)]
    listed = ", ".join(f"{key or 'a tensor alone'} {list(value.shape)}" for key, value in found.items())
    if wanted is None:
        raise InputError(f"the network gives several outputs ({listed}); choose one with `output: NAME`")
    raise InputError(f"the network has no output {wanted!r}, but {listed}; mend `output`")


class AsLogits(nn.Module):
    """A foreign network whose answer becomes float logits; a fraction of the size is enlarged."""

    def __init__(self, program: nn.Module, spec: ModelSpec) -> None:
        super().__init__()
        self.program = program
        self.output, self.activation = spec.output, spec.activation
        self.scale, self.dims, self.classes = spec.output_scale, spec.dims, spec.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Logits (N, C, *spatial) of ``x``."""
        found = choose(self.program(x), self.output)
        if found.ndim == self.dims + 1:  # no axis of channels
            found = found.unsqueeze(1)
        return enlarged(as_logits(found, self.activation, self.classes), self.scale)


def as_logits(found: Tensor, activation: Activation, classes: int) -> Tensor:
    """Logits that lead to what the network says: its probabilities, or its labels (N, 1, *spatial)."""
    match activation:
        case "sigmoid":
            return torch.logit(found.float(), eps=_LEAST)
        case "softmax":
            return found.float().clamp(min=_LEAST).log()
        case "argmax":
            numbers = torch.arange(classes, device=found.device).view(1, -1, *(1,) * (found.ndim - 2))
            return (found.float().round() == numbers).float() * _SURE
        case _:
            return found


def enlarged(logits: Tensor, scale: int) -> Tensor:
    """``logits`` with ``scale`` pixels for each, linear between the centres: on one lattice for all tiles."""
    if scale == 1:
        return logits
    mode = _LINEAR[logits.ndim - 2]
    return nn.functional.interpolate(logits, scale_factor=float(scale), mode=mode, align_corners=False)


def _walk(answer: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(answer, Tensor):
        yield prefix, answer
    elif isinstance(answer, Mapping):
        for key, value in answer.items():
            yield from _walk(value, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(answer, list | tuple):
        for number, value in enumerate(answer):
            yield from _walk(value, f"{prefix}.{number}" if prefix else str(number))

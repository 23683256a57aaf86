"""Probe: asks a network how far it looks, with numbers that are none: what depends on NaN becomes NaN.

So reach follows from the network's structure, whatever its weights. One axis is long at a time, the others as
short as the network takes them.

Shapes: N batch, C channels, then the spatial axes.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from unet_batch.errors import text_of

LARGEST = {2: 2048, 3: 320}  # pixels along one axis, beyond which a network is taken to see all of its input
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}  # of the largest answer, between equal pixels


@dataclass(frozen=True, slots=True)
class Reach:
    """How far an axis was seen to matter: ``before`` and ``behind`` a run of output; None is everything."""

    before: int
    behind: int


@dataclass(slots=True)
class Probe:
    """A copy of a network that answers with (N, C, *spatial), in float64 where it can.

    ``others`` are the sizes of the axes that are not asked about.
    """

    network: Callable[[Tensor], Tensor]
    dims: int
    channels: int
    dtype: torch.dtype
    others: tuple[int, ...] = ()
    refusal: str = ""
    seed: torch.Generator = field(default_factory=lambda: torch.Generator().manual_seed(0))

    @classmethod
    def of(cls, module: nn.Module, dims: int, channels: int, size: Sequence[int]) -> "Probe":
        """A probe of ``module``, which takes inputs of ``size``; float32 where it refuses float64."""
        network = copy.deepcopy(module).eval()
        with suppress(Exception):
            double = copy.deepcopy(network).double()
            with torch.inference_mode():
                answer = double(torch.zeros(1, channels, *size, dtype=torch.float64))
            if answer.dtype == torch.float64:
                return cls(double, dims, channels, torch.float64, tuple(size))
        return cls(network, dims, channels, torch.float32, tuple(size))

    @property
    def tolerance(self) -> float:
        """Share of the largest answer that rounding makes."""
        return TOLERANCE[self.dtype]

    def ask(self, x: Tensor) -> Tensor | None:
        """The answer; None where the network refuses the shape."""
        try:
            with torch.inference_mode():
                return self.network(x)
        except Exception as error:  # noqa: BLE001 - a foreign program raises anything
            self.refusal = text_of(error, 160)
            return None

    def shape(self, axis: int, size: int) -> tuple[int, ...]:
        """Of an input that is ``size`` along ``axis``."""
        sizes = list(self.others)
        sizes[axis] = size
        return (1, self.channels, *sizes)

    def noise(self, axis: int, size: int) -> Tensor:
        """Random pixels."""
        return torch.randn(self.shape(axis, size), generator=self.seed, dtype=self.dtype)

    def given(self, axis: int, size: int) -> int | None:
        """Pixels that come back along ``axis``; None where the network refuses the size or gives no image."""
        answer = self.ask(torch.zeros(self.shape(axis, size), dtype=self.dtype))
        if answer is None or answer.ndim != self.dims + 2 or not answer.shape[2 + axis]:
            return None
        return int(answer.shape[2 + axis])

    def unspoilt(self, axis: int, size: int, collar: int) -> Reach | None:
        """How far into a window of ``size`` its outside matters: ``collar`` pixels of NaN, or of other noise.

        None: nothing in the window is free of it, or the network refuses.
        """
        x, along = self.noise(axis, size + 2 * collar), 2 + axis
        spoilt, other = x.clone(), self.noise(axis, size + 2 * collar)
        for start in (0, collar + size):
            spoilt.narrow(along, start, collar).fill_(torch.nan)
        other.narrow(along, collar, size).copy_(x.narrow(along, collar, size))
        of_nan = self._rows(spoilt, along)
        if of_nan is None or of_nan.isnan().any(dim=1).all():
            return None
        plain, of_other = self._rows(x, along), self._rows(other, along)
        if plain is None or of_other is None:
            return None
        unlike = (plain - of_other).abs() > self.tolerance * plain.abs().max().clamp(min=1e-30)
        lost = (x.shape[along] - len(plain)) // 2
        spoilt_rows = (of_nan.isnan() | unlike).any(dim=1).nonzero().flatten() + lost - collar
        before = [int(row) for row in spoilt_rows if row < size // 2]
        behind = [int(row) for row in spoilt_rows if row >= size // 2]
        reach = Reach(
            max(0, lost - collar, max(before, default=-1) + 1),
            max(0, lost - collar, size - min(behind, default=size)),
        )
        return reach if reach.before + reach.behind < size else None

    def _rows(self, x: Tensor, along: int) -> Tensor | None:
        answer = self.ask(x)
        return None if answer is None else answer.movedim(along, 0).flatten(1)

    def radius(self, axis: int, position: int) -> int | None:
        """How far from ``position`` a line of NaN across the input is seen; None: everywhere."""
        x, along = self.noise(axis, self.others[axis]), 2 + axis
        x.narrow(along, position, 1).fill_(torch.nan)
        answer = self.ask(x)
        if answer is None:
            return None
        rows = answer.movedim(along, 0).flatten(1).isnan().any(dim=1).nonzero().flatten()
        lost = (x.shape[along] - answer.shape[along]) // 2
        if not len(rows) or len(rows) == answer.shape[along]:
            return None
        return max(position - int(rows[0]) - lost, int(rows[-1]) + lost - position, lost)

    def moved(self, axis: int, size: int, step: int, margin: int) -> float | None:
        """Largest difference of pixels that two windows of ``size``, ``step`` apart, both answer for.

        As a share of the largest answer; None where the network refuses or nothing is left to compare.
        """
        x = self.noise(axis, size + step)
        along = 2 + axis
        pair = [self.ask(x.narrow(along, start, size)) for start in (0, step)]
        if pair[0] is None or pair[1] is None:
            return None
        lost = (size - pair[0].shape[along]) // 2
        start, stop = max(margin, lost), size - max(margin, lost)
        if stop - start <= step:
            return None
        left = pair[0].narrow(along, start + step - lost, stop - start - step).double()
        right = pair[1].narrow(along, start - lost, stop - start - step).double()
        return float((left - right).abs().max()) / max(float(pair[0].abs().max()), 1e-30)

"""Geometry: one sampling grid per sample, so that pixels are interpolated once, or not at all.

Shapes: C channels, R read extents, S result extents, d spatial axes, k coefficients per axis.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unet_batch.devices.device import sent
from unet_batch.training.augment.parameters import AugmentParameters

Mode = Literal["bilinear", "nearest"]


@dataclass(frozen=True, slots=True)
class Warp:
    """The geometry of one sample.

    Attributes:
        drawn: what it is made of.
        grid: where its pixels come from, (*frame, d) as grid_sample takes it; None if they are only moved.
    """

    drawn: AugmentParameters
    grid: Tensor | None

    @classmethod
    def of(
        cls, drawn: AugmentParameters, read: tuple[int, ...], frame: tuple[int, ...], device: torch.device
    ) -> "Warp":
        """The warp of ``read`` pixels to ``frame``, the network's input, which elastic grids span."""
        return cls(drawn, _grid(drawn, read, frame, device) if drawn.warps else None)

    def fill(self, out_CS: Tensor, x_CR: Tensor, mode: Mode) -> None:
        """The centre of the warped ``x_CR`` goes to ``out_CS``, float32; mirrored past what was read.

        All extents share one centre and differ by even numbers: a pixel that does not move keeps its value.
        """
        size = tuple(out_CS.shape[1:])
        if self.grid is None:
            out_CS.copy_(_turned(x_CR, self.drawn, size))
        else:
            _sample(out_CS, x_CR, _centre(self.grid, size), mode)


def context_of(drawn: AugmentParameters, frame: tuple[int, ...]) -> tuple[int, ...]:
    """Pixels per side and axis past ``frame`` that a warp looks at.

    Exact for rotation, scale and shear; elastic pieces are followed at a quarter of their extent, and a
    pixel is added for what they do in between.
    """
    if not drawn.warps:
        return (0,) * len(frame)
    knots = _knots(drawn)
    # By numpy: threads that read take no processor from those of torch.
    positions = _coefficients(drawn, (1.0,) * len(frame), knots).numpy()
    for n in frame:
        places = np.linspace(0, n - 1, max(2, 4 * knots)).round().astype(int)
        positions = np.tensordot(positions, _basis(n, knots).numpy()[places], axes=(1, 1))
    farthest = np.abs(positions).max(axis=tuple(range(1, positions.ndim)))[::-1].tolist()
    spare = int(knots > 0)
    # Less a hair, as float32 may put a pixel that does not move just past the rim.
    return tuple(
        max(0, math.ceil(far - (n - 1) / 2 - 1e-3) + spare) for far, n in zip(farthest, frame, strict=True)
    )


def _turned(x_CR: Tensor, drawn: AugmentParameters, size: tuple[int, ...]) -> Tensor:
    """Flips and turns alone: pixels are moved, not interpolated."""
    for axis, n in enumerate(size, start=1):
        x_CR = x_CR.narrow(axis, (x_CR.shape[axis] - n) // 2, n)
    turns, plane = drawn.turns
    flipped = x_CR.flip([axis + 1 for axis in drawn.flips]) if drawn.flips else x_CR
    return flipped.rot90(turns, [axis + 1 for axis in plane]) if turns else flipped


def _sample(out_CS: Tensor, x_CR: Tensor, grid_Sd: Tensor, mode: Mode) -> None:
    """``mode`` bilinear is trilinear in three dimensions."""
    # On CPUs grid_sample shares out the samples of a batch among threads: strips of one stand for them.
    threads = torch.get_num_threads() if x_CR.device.type == "cpu" else 1
    channels, rows, *rest = out_CS.shape
    strips = max(k for k in range(1, threads + 1) if rows % k == 0)
    found = functional.grid_sample(
        x_CR.to(torch.float32).expand(strips, *x_CR.shape),
        grid_Sd.view(strips, -1, *grid_Sd.shape[1:]),
        mode=mode,
        padding_mode="reflection",
        align_corners=True,
    )
    out_CS.view(channels, strips, -1, *rest).copy_(found.movedim(0, 1))


def _centre(grid_Sd: Tensor, size: tuple[int, ...]) -> Tensor:
    for axis, n in enumerate(size):
        grid_Sd = grid_Sd.narrow(axis, (grid_Sd.shape[axis] - n) // 2, n)
    return grid_Sd


def _grid(
    drawn: AugmentParameters, read: tuple[int, ...], frame: tuple[int, ...], device: torch.device
) -> Tensor:
    """Where each pixel of ``frame`` comes from: (*frame, d), x first, -1 to 1 over what was read.

    A position is a polynomial of first order (the matrix) and cubic pieces (the elastic grid) in each
    coordinate: coefficients (k, ..., k), multiplied by one small matrix (S, k) per axis.
    """
    knots = _knots(drawn)
    # On GPUs in double: TF32, where settings allow it, would move pixels.
    exact = torch.float32 if device.type == "cpu" else torch.float64
    positions = sent(_coefficients(drawn, [max(n - 1, 1) / 2 for n in read], knots).to(exact), device)
    for n in frame:  # the first coefficients left become the last axis
        positions = torch.tensordot(positions, sent(_basis(n, knots).to(exact), device), dims=([1], [1]))
    # Strides as grid_sample's quick path likes them: x, y (and z) in planes of their own.
    return positions.to(torch.float32).movedim(0, -1)


def _knots(drawn: AugmentParameters) -> int:
    return 0 if drawn.displacement is None else drawn.displacement.shape[-1]


def _coefficients(drawn: AugmentParameters, half: Sequence[float], knots: int) -> Tensor:
    """(d, k, ..., k); coordinates come out x first, in units of ``half`` of each axis."""
    dims = len(half)
    turns, plane = drawn.turns
    matrix = np.eye(dims) if drawn.matrix is None else drawn.matrix
    matrix = matrix @ np.diag([-1.0 if axis in drawn.flips else 1.0 for axis in range(dims)])
    matrix = matrix @ np.linalg.matrix_power(_quarter(dims, plane), turns)
    found = torch.zeros((dims, *(knots + 2,) * dims))
    for axis in range(dims):
        for along in range(dims):
            found[axis][tuple(int(a == along) for a in range(dims))] = float(matrix[axis, along])
        if drawn.displacement is not None:
            found[axis][(slice(2, None),) * dims] = drawn.displacement[axis]
        found[axis] /= half[axis]
    return found.flip(0)


def _quarter(dims: int, plane: tuple[int, int]) -> NDArray[np.float64]:
    """Where an offset from the centre comes from in one torch.rot90."""
    first, second = plane
    matrix = np.eye(dims)
    matrix[first, first] = matrix[second, second] = 0
    matrix[first, second], matrix[second, first] = 1, -1
    return matrix


@lru_cache(maxsize=64)
def _basis(size: int, knots: int) -> Tensor:
    """(size, 2 + knots): one, the offset from the centre, and each knot's share (cubic convolution)."""
    rows = torch.stack([torch.ones(size), torch.arange(size) - (size - 1) / 2], dim=1)
    if not knots:
        return rows
    units = torch.eye(knots)[None, None]
    shares = functional.interpolate(units, (size, knots), mode="bicubic", align_corners=True)[0, 0]
    return torch.cat([rows, shares], dim=1)

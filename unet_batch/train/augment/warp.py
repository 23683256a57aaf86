"""Geometry: one sampling grid per sample, so that pixels are interpolated once, or not at all.

Shapes: N samples, C channels, R read extents, S result extents, d spatial axes, k coefficients per axis.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from unet_batch.train.augment.drawn import Drawn

Mode = Literal["bilinear", "nearest"]


@dataclass(frozen=True, slots=True)
class Warp:
    """The geometry of a batch.

    Attributes:
        drawn: of each sample.
        moved: numbers of the samples whose pixels are interpolated.
        grid: where their pixels come from, (moved, *frame, d) as grid_sample takes it; None if none are.
    """

    drawn: Sequence[Drawn]
    moved: list[int]
    grid: Tensor | None

    @classmethod
    def of(
        cls, drawn: Sequence[Drawn], read: tuple[int, ...], frame: tuple[int, ...], device: torch.device
    ) -> "Warp":
        """The warp of ``read`` pixels to ``frame``, the network's input, which elastic grids span."""
        moved = [i for i, one in enumerate(drawn) if one.warps]
        grid = _grid([drawn[i] for i in moved], read, frame).to(device) if moved else None
        return cls(drawn, moved, grid)

    def __call__(self, x_NCR: Tensor, size: tuple[int, ...], mode: Mode) -> Tensor:
        """The centre ``size`` of the warped ``x_NCR``, (N, C, *size) float32; mirrored past what was read.

        All extents share one centre and differ by even numbers: a pixel that does not move keeps its value.
        """
        if self.grid is not None and len(self.moved) == len(self.drawn):
            return _sampled(x_NCR, _centre(self.grid, size), mode)
        out = torch.empty((*x_NCR.shape[:2], *size), dtype=torch.float32, device=x_NCR.device)
        for i, one in enumerate(self.drawn):
            if not one.warps:
                out[i] = _turned(x_NCR[i], one, size)
        if self.grid is not None:
            out[self.moved] = _sampled(x_NCR[self.moved], _centre(self.grid, size), mode)
        return out


def _turned(x_CR: Tensor, drawn: Drawn, size: tuple[int, ...]) -> Tensor:
    """Flips and turns alone: pixels are moved, not interpolated."""
    for axis, n in enumerate(size, start=1):
        x_CR = x_CR.narrow(axis, (x_CR.shape[axis] - n) // 2, n)
    turns, plane = drawn.turns
    flipped = x_CR.flip([axis + 1 for axis in drawn.flips]) if drawn.flips else x_CR
    return flipped.rot90(turns, [axis + 1 for axis in plane]) if turns else flipped


def _sampled(x_NCR: Tensor, grid: Tensor, mode: Mode) -> Tensor:
    """``mode`` bilinear is trilinear in three dimensions."""
    return functional.grid_sample(
        x_NCR.to(torch.float32), grid, mode=mode, padding_mode="reflection", align_corners=True
    )


def _centre(grid_NSd: Tensor, size: tuple[int, ...]) -> Tensor:
    for axis, n in enumerate(size, start=1):
        grid_NSd = grid_NSd.narrow(axis, (grid_NSd.shape[axis] - n) // 2, n)
    return grid_NSd


def _grid(drawn: Sequence[Drawn], read: tuple[int, ...], frame: tuple[int, ...]) -> Tensor:
    """Where each pixel of ``frame`` comes from: (N, *frame, d), x first, -1 to 1 over what was read.

    A position is a polynomial of first order (the matrix) and cubic pieces (the elastic grid) in each
    coordinate: coefficients (k, ..., k), multiplied by one small matrix (S, k) per axis.
    """
    knots = max((one.displacement.shape[-1] for one in drawn if one.displacement is not None), default=0)
    half = [max(n - 1, 1) / 2 for n in read]
    positions = torch.stack([_coefficients(one, half, knots) for one in drawn])
    for n in frame:  # the first coefficients left become the last axis
        positions = torch.tensordot(positions, _basis(n, knots), dims=([2], [1]))
    # Strides as grid_sample's quick path likes them: x, y (and z) in planes of their own.
    return positions.movedim(1, -1)


def _coefficients(drawn: Drawn, half: Sequence[float], knots: int) -> Tensor:
    """(d, k, ..., k) of one sample; coordinates come out x first, as shares of the read extents' halves."""
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


def _basis(size: int, knots: int) -> Tensor:
    """(size, 2 + knots): one, the offset from the centre, and each knot's share (cubic convolution)."""
    rows = torch.stack([torch.ones(size), torch.arange(size) - (size - 1) / 2], dim=1)
    if not knots:
        return rows
    units = torch.eye(knots)[None, None]
    shares = functional.interpolate(units, (size, knots), mode="bicubic", align_corners=True)[0, 0]
    return torch.cat([rows, shares], dim=1)

"""What chance decides for one sample: all that follows from its seed, as plain numbers. Touches no pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unet_batch.training.augment.config import AugmentConfig

Matrix = NDArray[np.float64]

# Every kind has a row of uniform numbers of its own, so that switching one on or off leaves the others alone.
_ROWS = (
    "flip", "turn", "rotation", "scale", "shear", "elastic", "gamma", "brightness", "contrast",
    "channel_shift", "noise", "blur", "stain", "cutout",
)  # fmt: skip
# Kinds that came later draw from numbers of their own, so that older runs go on as they began.
_LATER = ("restain", "grey", "invert", "stretch")
_LATER_SEED = 0x5851F42D4C957F2D
_COLUMNS = 8


class _Kind(Protocol):
    probability: float


@dataclass(frozen=True, slots=True)
class AugmentParameters:
    """The augmentation of one sample; None where a kind was not drawn.

    Attributes:
        flips: spatial axes that are mirrored, before the turns.
        turns: number of right-angle turns, from the first towards the second of two spatial axes.
        matrix: where an offset from the centre of the input comes from, before flips and turns.
        displacement: (axes, *grid) pixels, of the elastic deformation.
        gamma: exponent.
        shift: of each channel, in standard deviations.
        contrast: factor.
        noise: in standard deviations.
        blur: sigma in pixels.
        stain: factor and addend of three stains.
        restain: seed of another kind of slide.
        grey: weight of each channel in the one that all become.
        invert: whether values are mirrored.
        cutout: start and extent of each box, as shares of the input.
    """

    flips: tuple[int, ...]
    turns: tuple[int, tuple[int, int]]
    matrix: Matrix | None
    displacement: Tensor | None
    gamma: float | None
    shift: tuple[float, ...] | None
    contrast: float | None
    noise: float | None
    blur: float | None
    stain: tuple[tuple[float, ...], tuple[float, ...]] | None
    restain: int | None
    grey: tuple[float, ...] | None
    invert: bool
    cutout: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]

    @property
    def warps(self) -> bool:
        """Whether pixels have to be interpolated."""
        return self.matrix is not None or self.displacement is not None


def draw_parameters(
    config: AugmentConfig, seed: int, size: Sequence[int], channels: int
) -> AugmentParameters:
    """What ``seed`` decides for a sample of ``size`` pixels (the network's input) and ``channels``."""
    generator = torch.Generator().manual_seed(seed)
    later = torch.Generator().manual_seed((seed ^ _LATER_SEED) % 2**63)
    rows = torch.rand((len(_ROWS), _COLUMNS), generator=generator).tolist()
    dice = _Dice(config, rows + torch.rand((len(_LATER), _COLUMNS), generator=later).tolist())
    many = torch.rand(channels, generator=generator).tolist()
    elastic = dice.elastic(generator, len(size))
    return AugmentParameters(
        flips=dice.flips(len(size)),
        turns=dice.turns(size),
        matrix=dice.matrix(len(size)),
        displacement=elastic,
        gamma=dice.factor("gamma"),
        shift=dice.shift(many),
        contrast=dice.factor("contrast"),
        noise=dice.amount("noise"),
        blur=dice.amount("blur"),
        stain=dice.stain(),
        restain=None if dice.row("restain") is None else (seed ^ _LATER_SEED) % 2**63,
        grey=dice.grey(channels),
        invert=dice.row("invert") is not None,
        cutout=dice.cutout(generator, len(size)),
    )


@dataclass(frozen=True, slots=True)
class _Dice:
    """Uniform numbers, and what they mean for each kind."""

    config: AugmentConfig
    rows: list[list[float]]

    def row(self, name: str) -> list[float] | None:
        """The numbers of a kind that was drawn."""
        kind: _Kind | None = getattr(self.config, name)
        row = self.rows[(_ROWS + _LATER).index(name)]
        return row[1:] if kind is not None and row[0] < kind.probability else None

    def amount(self, name: str) -> float | None:
        """A number even within the range of a kind."""
        row = self.row(name)
        return None if row is None else _within(getattr(self.config, name).range, row[0])

    def factor(self, name: str) -> float | None:
        """A number even in its logarithm within the range of a kind."""
        row = self.row(name)
        if row is None:
            return None
        low, high = getattr(self.config, name).range
        return math.exp(_within((math.log(low), math.log(high)), row[0]))

    def flips(self, dims: int) -> tuple[int, ...]:
        kind, row = self.config.flip, self.rows[_ROWS.index("flip")]
        if kind is None:
            return ()
        axes = kind.axes or ("zyx" if self.config.isotropic else "yx")
        return tuple(
            axis
            for axis, name in enumerate("zyx"[-dims:])
            if name in axes and row[-1 - axis] < kind.probability
        )

    def turns(self, size: Sequence[int]) -> tuple[int, tuple[int, int]]:
        """Turns of a quarter need two axes of one length; otherwise half turns remain."""
        dims = len(size)
        planes = list(combinations(range(dims), 2)) if self.config.isotropic else [(dims - 2, dims - 1)]
        row = self.row("turn")
        if row is None:
            return 0, planes[-1]
        plane = planes[int(row[1] * len(planes))]
        turns = int(row[0] * 4)
        return (turns if size[plane[0]] == size[plane[1]] else turns & 2), plane

    def matrix(self, dims: int) -> Matrix | None:
        rotation, shear, zoom = self.row("rotation"), self.amount("shear"), self.factor("scale")
        stretch = self.row("stretch")
        if rotation is None and shear is None and zoom is None and stretch is None:
            return None
        matrix: Matrix = np.eye(dims) / (zoom or 1.0)
        if rotation is not None:
            assert self.config.rotation is not None, "it was drawn"
            angle = math.radians(_within(self.config.rotation.range, rotation[0]))
            axis = _direction(rotation[1], rotation[2]) if self.config.isotropic else (1.0, 0.0, 0.0)
            matrix = matrix @ _rotation(angle, axis)[-dims:, -dims:]
        if shear is not None:
            slant = np.eye(dims)
            slant[-1, -2] = math.tan(math.radians(shear))
            matrix = matrix @ slant
        return matrix if stretch is None else matrix @ self.stretched(stretch[1], dims)

    def stretched(self, u: float, dims: int) -> Matrix:
        """Where an offset comes from that is magnified along one direction of the last two axes."""
        along = np.zeros(dims)
        along[-2:] = math.sin(math.pi * u), math.cos(math.pi * u)
        return np.asarray(np.eye(dims) + (1 / (self.factor("stretch") or 1.0) - 1) * np.outer(along, along))

    def elastic(self, generator: torch.Generator, dims: int) -> Tensor | None:
        kind = self.config.elastic
        if kind is None:
            return None
        drawn = torch.randn((dims, *(kind.grid,) * dims), generator=generator) * kind.std
        return None if self.row("elastic") is None else drawn

    def shift(self, many: list[float]) -> tuple[float, ...] | None:
        brightness, own = self.amount("brightness"), self.row("channel_shift")
        if brightness is None and own is None:
            return None
        kind = self.config.channel_shift
        extra = [_within(kind.range, u) for u in many] if kind and own is not None else [0.0] * len(many)
        return tuple((brightness or 0.0) + one for one in extra)

    def stain(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        row = self.row("stain")
        if row is None or self.config.stain is None:
            return None
        drawn = [_within(self.config.stain.range, u) for u in row[:6]]
        return tuple(1 + u for u in drawn[:3]), tuple(drawn[3:])

    def grey(self, channels: int) -> tuple[float, ...] | None:
        row = self.row("grey")
        if row is None:
            return None
        weights = [row[i % len(row)] + 0.1 for i in range(channels)]
        return tuple(weight / sum(weights) for weight in weights)

    def cutout(self, generator: torch.Generator, dims: int) -> tuple[Any, ...]:
        kind = self.config.cutout
        if kind is None or self.row("cutout") is None:
            return ()
        drawn = torch.rand((kind.count, 2, dims), generator=generator).tolist()
        boxes = []
        for places, lengths in drawn:
            extent = tuple(_within(kind.range, u) for u in lengths)
            boxes.append((tuple(u * (1 - e) for u, e in zip(places, extent, strict=True)), extent))
        return tuple(boxes)


def _within(limits: tuple[float, float], u: float) -> float:
    return limits[0] + u * (limits[1] - limits[0])


def _direction(u: float, v: float) -> tuple[float, float, float]:
    """A direction (z, y, x), even on the sphere."""
    z, angle = 2 * u - 1, 2 * math.pi * v
    flat = math.sqrt(1 - z * z)
    return z, flat * math.sin(angle), flat * math.cos(angle)


def _rotation(angle: float, axis: tuple[float, float, float]) -> Matrix:
    """Rodrigues' formula on the axes z, y, x."""
    z, y, x = axis
    cross = np.array([[0, -x, y], [x, 0, -z], [-y, z, 0]])
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * cross @ cross)

"""The receptive field: how far a network looks past its output, and which input sizes are legal.

Interval and size arithmetic on one axis; every spatial axis of these networks behaves alike. No torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from unet_batch.errors import SpecError
from unet_batch.tiling import round_up


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What a tile must hold around its output, in pixels per axis.

    A network given ``n`` pixels returns ``n`` or ``n - 2 * margin``; the centre ``n - 2 * margin`` are its
    true output either way. Tiles must start at positions that differ by multiples of ``multiple``: pooling
    makes the network equivariant to those shifts only. The margin belongs to the tile's output as a whole: a
    single pixel inside it may depend on up to ``multiple - 1`` pixels more, which the tile holds.

    Attributes:
        margin: pixels per side that a tile reads beyond its output.
        multiple: legal sizes satisfy ``n % multiple == remainder``.
        remainder: see ``multiple``.
        exact: whether tiles stitch to the untiled result; False where statistics are taken over the tile.
        fixed: the one input size that the network takes, if it takes only one.
    """

    margin: int
    multiple: int = 1
    remainder: int = 0
    exact: bool = True
    fixed: int | None = None

    @property
    def minimum(self) -> int:
        """The smallest legal input, which gives at least one pixel of output."""
        return self.input_size(1)

    def legal(self, size: int) -> bool:
        """Whether ``size`` pixels can be given to the network."""
        return size % self.multiple == self.remainder and size >= self.minimum and self.fixed in (None, size)

    def output_size(self, size: int) -> int:
        """True output pixels of an input of ``size`` pixels."""
        return size - 2 * self.margin

    def input_size(self, output: int) -> int:
        """The smallest legal input that gives at least ``output`` pixels.

        Raises:
            SpecError: the network takes one size only and that gives less.
        """
        needed = max(output, 1) + 2 * self.margin
        if self.fixed is None:
            return needed + (self.remainder - needed) % self.multiple
        if needed > self.fixed:
            raise SpecError(
                f"the network takes {self.fixed} px and gives {self.output_size(self.fixed)} px, "
                f"not {output}; ask for smaller tiles"
            )
        return self.fixed

    def margins(self, output: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Pixels per axis that a tile reads before and behind the ``output`` pixels that it answers for.

        The surplus that makes an input legal lies behind the tile: starts stay multiples of ``multiple``.

        Raises:
            SpecError: the network takes one size only and that gives less.
        """
        behind = tuple(self.input_size(extent) - extent - self.margin for extent in output)
        return (self.margin,) * len(behind), behind


@dataclass(frozen=True, slots=True)
class Stages:
    """A U-shaped network on one axis: 3-px convolutions per level, 2-px pooling between the levels.

    Attributes:
        encoder: convolutions of each contracting level, finest first.
        bottom: convolutions below the last pooling.
        decoder: convolutions of each expanding level, finest first.
        overlap: 1 where up-sampling mixes two coarse pixels (linear, 4-px transposed), 0 for 2-px transposed.
    """

    encoder: tuple[int, ...]
    bottom: int
    decoder: tuple[int, ...]
    overlap: int

    @property
    def multiple(self) -> int:
        """Pixels of the finest level under one pixel of the coarsest."""
        return 1 << len(self.encoder)


def valid_receptive_field(stages: Stages) -> ReceptiveField:
    """Unpadded convolutions: ``multiple * k + c`` pixels go in and ``multiple * k + o`` come out.

    Up-sampling that mixes neighbours is cropped by one pixel per side, so what it clamps at the edge is gone.
    """
    taken, given = 2 * stages.bottom, 0
    for encoder, decoder in zip(reversed(stages.encoder), reversed(stages.decoder), strict=True):
        taken = 2 * taken + 2 * encoder
        given = 2 * given - 2 * stages.overlap - 2 * decoder
    return ReceptiveField((taken - given) // 2, stages.multiple, taken % stages.multiple)


def same_receptive_field(stages: Stages) -> ReceptiveField:
    """Zero-padded convolutions: the widest interval over all phases, rounded up to ``multiple``."""
    step = stages.multiple
    spans = [_span(stages, phase, phase, level=0) for phase in range(step)]
    radius = max(max(phase - low, high - phase) for phase, (low, high) in enumerate(spans))
    return ReceptiveField(round_up(radius, step), step)


def _span(stages: Stages, low: int, high: int, level: int) -> tuple[int, int]:
    """Positions entering ``level`` that the positions low..high (inclusive) leaving it depend on."""
    if level == len(stages.encoder):
        return low - stages.bottom, high + stages.bottom
    low, high = low - stages.decoder[level], high + stages.decoder[level]
    coarse_low, coarse_high = _span(
        stages, (low - stages.overlap) // 2, (high + stages.overlap) // 2, level + 1
    )
    low, high = min(low, 2 * coarse_low), max(high, 2 * coarse_high + 1)
    return low - stages.encoder[level], high + stages.encoder[level]

"""Box: a half-open N-D region of integers. Knows nothing of arrays, files or networks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from unet_batch.tiling.rounding import ceil_div


@dataclass(frozen=True, slots=True)
class Box:
    """The region ``start <= position < stop`` on every axis. May reach past an image (negative starts)."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.start) != len(self.stop):
            raise ValueError(f"a box needs as many starts as stops, got {self.start} and {self.stop}")

    @classmethod
    def of_shape(cls, shape: Sequence[int]) -> "Box":
        """The box from the origin to ``shape``."""
        return cls((0,) * len(shape), tuple(shape))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.start)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent on every axis, 0 where the box is empty."""
        return tuple(max(0, b - a) for a, b in zip(self.start, self.stop, strict=True))

    @property
    def size(self) -> int:
        """Number of positions inside."""
        return prod(self.shape)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The box as an index; only for boxes without negative starts."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    def grow(self, before: Sequence[int], after: Sequence[int]) -> "Box":
        """The box with ``before`` added at its low side and ``after`` at its high side."""
        return Box(
            tuple(a - g for a, g in zip(self.start, before, strict=True)),
            tuple(b + g for b, g in zip(self.stop, after, strict=True)),
        )

    def shift(self, offset: Sequence[int]) -> "Box":
        """The box moved by ``offset``."""
        return Box(
            tuple(a + o for a, o in zip(self.start, offset, strict=True)),
            tuple(b + o for b, o in zip(self.stop, offset, strict=True)),
        )

    def relative_to(self, origin: Sequence[int]) -> "Box":
        """The same box in coordinates that begin at ``origin``."""
        return self.shift(tuple(-o for o in origin))

    def intersect(self, other: "Box") -> "Box":
        """What both boxes cover; empty (never inverted) where they do not meet."""
        start = tuple(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = tuple(min(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return Box(start, tuple(max(a, b) for a, b in zip(start, stop, strict=True)))

    def contains(self, other: "Box") -> bool:
        """Whether every position of ``other`` lies inside."""
        return other.size == 0 or self.intersect(other) == other

    def positions(self) -> Iterator[tuple[int, ...]]:
        """Every position inside, in raster order (last axis fastest)."""
        return product(*(range(a, b) for a, b in zip(self.start, self.stop, strict=True)))

    def scale_up(self, factor: Sequence[int]) -> "Box":
        """The box on a grid finer by ``factor``: all fine positions of every position inside."""
        return Box(
            tuple(a * f for a, f in zip(self.start, factor, strict=True)),
            tuple(b * f for b, f in zip(self.stop, factor, strict=True)),
        )

    def scale_down(self, factor: Sequence[int]) -> "Box":
        """The box on a grid coarser by ``factor``: every coarse position that it touches."""
        return Box(
            tuple(a // f for a, f in zip(self.start, factor, strict=True)),
            tuple(ceil_div(b, f) for b, f in zip(self.stop, factor, strict=True)),
        )

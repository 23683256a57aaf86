"""Views: a tile mirrored and turned, over which answers may be averaged."""

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Averaging = bool | Literal["turns"]
"""Over nothing but the tile itself, over its flips (``True``), or over flips and quarter turns."""


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at a tile.

    Attributes:
        flipped: spatial axes (from the end) that are mirrored, after the turn.
        turned: by a quarter, in the plane of the last two axes.
    """

    flipped: tuple[int, ...] = ()
    turned: bool = False

    def of(self, x: "Tensor") -> "Tensor":
        """(..., *spatial) as this view shows it."""
        signed = _signed(x)
        turned = signed.rot90(1, (-2, -1)) if self.turned else signed
        return (turned.flip(self.flipped) if self.flipped else turned).view(x.dtype)

    def back(self, y: "Tensor") -> "Tensor":
        """What was found in this view, where it belongs."""
        unflipped = y.flip(self.flipped) if self.flipped else y
        return unflipped.rot90(-1, (-2, -1)) if self.turned else unflipped


def _signed(x: "Tensor") -> "Tensor":
    """``x`` in the bits of a type that torch moves: it flips no unsigned ones but bytes."""
    if x.dtype.is_floating_point or x.dtype.is_signed or x.dtype.itemsize == 1:
        return x
    import torch  # noqa: PLC0415 - planning averages too, without it

    return x.view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.dtype.itemsize])


def views(dims: int, averaging: Averaging) -> list[View]:
    """The views to average over, the tile itself first; with turns 8 of a plane, 16 of a volume."""
    if not averaging:
        return [View()]
    axes = range(-dims, 0)
    flips = [combo for count in range(dims + 1) for combo in itertools.combinations(axes, count)]
    turns = (False, True) if averaging == "turns" else (False,)
    return [View(flipped, turned) for turned in turns for flipped in flips]

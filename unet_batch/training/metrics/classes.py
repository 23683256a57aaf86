"""Scores of classes from counts of pixels: names and means; the formulas are models.metrics'."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.models.metrics import Counts, confusion, scores


@dataclass(frozen=True, slots=True)
class ClassTally:
    """Confusion matrices, truth along rows: one of exclusive classes, or one (2, 2) per channel."""

    names: tuple[str, ...]
    counts: tuple[Counts, ...]

    @classmethod
    def empty(cls, names: tuple[str, ...], *, exclusive: bool) -> "ClassTally":
        """Nothing counted yet."""
        sizes = (len(names),) if exclusive else (2,) * len(names)
        return cls(names, tuple(np.zeros((n, n), np.int64) for n in sizes))

    @property
    def exclusive(self) -> bool:
        """Whether a pixel has one class only."""
        return len(self.counts) == 1 and len(self.counts[0]) == len(self.names)

    def plus(self, truth_LX: NDArray[Any], found_LX: NDArray[Any], ignore: int) -> "ClassTally":
        """With the labels of one box counted, (L, *box) each."""
        parts = (
            old + confusion(truth, found, len(old), ignore)
            for old, truth, found in zip(self.counts, truth_LX, found_LX, strict=True)
        )
        return ClassTally(self.names, tuple(parts))

    def __add__(self, other: "ClassTally") -> "ClassTally":
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return ClassTally(self.names, counts)

    def scores(self) -> dict[str, float]:
        """Dice and IoU of every class, their means, and of exclusive classes those of all but the first."""
        found = [scores(counts) for counts in self.counts]
        if self.exclusive:
            dice, iou = found[0].dice, found[0].iou
        else:
            dice, iou = tuple(one.dice[1] for one in found), tuple(one.iou[1] for one in found)
        total, right = sum(c.sum() for c in self.counts), sum(np.trace(c) for c in self.counts)
        values = {
            **{f"dice_{name}": value for name, value in zip(self.names, dice, strict=True)},
            **{f"iou_{name}": value for name, value in zip(self.names, iou, strict=True)},
            "mean_dice": _mean(dice),
            "mean_iou": _mean(iou),
            "pixel_error": 1 - float(right) / float(total) if total else None,
            **(self._foreground() if self.exclusive else {}),
        }
        return {name: value for name, value in values.items() if value is not None}

    def _foreground(self) -> dict[str, float | None]:
        """Of all classes but the first together."""
        edges = [0, 1]
        found = scores(np.add.reduceat(np.add.reduceat(self.counts[0], edges, 0), edges, 1))
        return {"foreground_dice": found.dice[1], "foreground_iou": found.iou[1]}


def _mean(values: tuple[float | None, ...]) -> float | None:
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None

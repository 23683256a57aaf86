"""What a pixel takes where scenes overlap. Pixels in, pixels out; knows no files.

Shapes: pixels and valid (C, ..., y, x), of a part of the mosaic at hand; weight broadcasts to (y, x).
"""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unet_batch.ingestion.mosaic.config import Rule

Pixels = NDArray[Any]
Valid = NDArray[np.bool_]
Place = tuple[slice, ...]


class Merge(Protocol):
    """Scenes are added in order; what no scene has stays without data."""

    def add(self, at: Place, pixels: Pixels, valid: Valid, weight: Pixels) -> None:
        """One more scene, which has the part ``at``; what is not ``valid`` of it counts for nothing."""

    def result(self) -> tuple[Pixels, Valid]:
        """The merged pixels, and which of them any scene has."""


def merge_of(rule: Rule, like: Pixels, quality: int | None, prefer: str) -> Merge:
    """The merge of a rule for pixels of the shape and type of ``like``."""
    match rule:
        case "first":
            return First(like)
        case "last":
            return Last(like)
        case "median":
            return Median(like)
        case "best":
            assert quality is not None, "the settings ask for it"
            return Best(like, quality, 1 if prefer == "high" else -1)
        case _:
            return Mean(like, weighted=rule == "feather")


class First:
    """The first scene that has the pixel."""

    def __init__(self, like: Pixels) -> None:
        self.pixels, self.filled = np.zeros_like(like), np.zeros(like.shape, np.bool_)

    def add(self, at: Place, pixels: Pixels, valid: Valid, weight: Pixels) -> None:
        """Fill what is still empty."""
        del weight
        np.copyto(self.pixels[at], pixels, where=valid & ~self.filled[at])
        self.filled[at] |= valid

    def result(self) -> tuple[Pixels, Valid]:
        """The merged pixels."""
        return self.pixels, self.filled


class Last(First):
    """The last scene that has the pixel."""

    def add(self, at: Place, pixels: Pixels, valid: Valid, weight: Pixels) -> None:
        """Cover what is there."""
        del weight
        np.copyto(self.pixels[at], pixels, where=valid)
        self.filled[at] |= valid


class Best(First):
    """All bands of the scene whose quality band is best; the scene added first where they are equal."""

    def __init__(self, like: Pixels, quality: int, sign: int) -> None:
        super().__init__(like)
        self.quality, self.sign = quality, sign
        self.best = np.full(like.shape[1:], -np.inf)

    def add(self, at: Place, pixels: Pixels, valid: Valid, weight: Pixels) -> None:
        """Take the pixels that are better than all before."""
        del weight
        quality = self.sign * pixels[self.quality].astype(np.float64)
        score = np.where(valid[self.quality], quality, -np.inf)
        best, filled = self.best[at[1:]], self.filled[at]
        # A scene without the quality of a pixel is better than none.
        better = (score > best) | (valid.any(axis=0) & ~filled.any(axis=0))
        np.copyto(best, score, where=better)
        np.copyto(self.pixels[at], pixels, where=better & valid)
        np.copyto(filled, valid, where=better)


class Mean:
    """The mean of all scenes that have the pixel, or their mean by weight. Integers are rounded half up."""

    def __init__(self, like: Pixels, *, weighted: bool) -> None:
        self.dtype, self.weighted = like.dtype, weighted
        self.total, self.weight = np.zeros(like.shape), np.zeros(like.shape)

    def add(self, at: Place, pixels: Pixels, valid: Valid, weight: Pixels) -> None:
        """Add to the sums."""
        share = np.where(valid, weight if self.weighted else 1.0, 0.0)
        self.total[at] += np.where(valid, pixels, 0) * share
        self.weight[at] += share

    def result(self) -> tuple[Pixels, Valid]:
        """The merged pixels."""
        filled = self.weight > 0
        mean = np.divide(self.total, self.weight, out=np.zeros_like(self.total), where=filled)
        return as_type(mean, self.dtype), filled


class Median:
    """The median of all scenes that have the pixel; of two in the middle, their mean."""

    def __init__(self, like: Pixels) -> None:
        self.like = like
        self.stack: list[NDArray[np.float64]] = []

    def add(self, at: Place, pixels: Pixels, valid: Valid, weight: Pixels) -> None:
        """Keep for the end."""
        del weight
        layer = np.full(self.like.shape, np.nan)
        np.copyto(layer[at], pixels, where=valid)
        self.stack.append(layer)

    def result(self) -> tuple[Pixels, Valid]:
        """The merged pixels."""
        if not self.stack:
            return np.zeros_like(self.like), np.zeros(self.like.shape, np.bool_)
        ordered = np.sort(np.stack(self.stack), axis=0)  # what is not there comes last
        count = np.count_nonzero(~np.isnan(ordered), axis=0)
        low, high = (np.maximum(count - 1, 0) // 2)[np.newaxis], (count // 2)[np.newaxis]
        high = np.minimum(high, len(ordered) - 1)
        middle = (np.take_along_axis(ordered, low, 0)[0] + np.take_along_axis(ordered, high, 0)[0]) / 2
        filled = count > 0
        return as_type(np.where(filled, middle, 0), self.like.dtype), filled


def as_type(values: NDArray[np.float64], dtype: np.dtype[Any]) -> Pixels:
    """Values as pixels; integers rounded half up."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.floor(values + 0.5), limits.min, limits.max).astype(dtype)


def rim_distance(valid: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows plus columns from each pixel of (y, x) to the nearest that is not valid; 0 where it is not itself.

    Beyond the array nothing is assumed: pad it where a scene ends.
    """
    distance = np.where(valid, sum(valid.shape), 0).astype(np.int64)
    for axis in (0, 1):
        ramp = np.arange(valid.shape[axis]).reshape((-1, 1) if axis == 0 else (1, -1))
        ahead = np.minimum.accumulate(distance - ramp, axis=axis) + ramp
        behind = np.flip(np.minimum.accumulate(np.flip(distance + ramp, axis), axis=axis), axis) - ramp
        distance = np.minimum(ahead, behind)
    return distance

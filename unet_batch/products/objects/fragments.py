"""Fragments: what a block knows of each object that it sees, in columns that add up over blocks.

Among them are crossings: how often lines in four directions cross the rim of each object, whence its
perimeter. By Cauchy and Crofton a curve's length is a weighted count of its crossings with sets of parallel
lines; with lines along x, y and both diagonals this is skimage.measure.perimeter_crofton(directions=4), also
for pixels that are not square. A pair of neighbours belongs to the block of its first pixel.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.instances.labels import Classes, Labels

Touches = NDArray[np.int64]
"""(N, 4): two local labels that meet, the direction, how often. They may prove to be one object elsewhere."""


def crossings(
    labels: Labels, own: Sequence[int], start: Sequence[int], count: int
) -> tuple[NDArray[np.int64], Touches]:
    """(count, 4) crossings of labels along x, y and the diagonals down right and down left, and touches.

    ``labels`` (2-D) begin with the block's ``own`` pixels, at ``start`` in the image, and have one pixel more
    on the high sides, unless the image ends there. Beyond the image there are no objects.
    """
    before = [int(begin == 0) for begin in start]
    after = [1 - (seen - mine) for seen, mine in zip(labels.shape, own, strict=True)]
    seen = np.pad(labels, list(zip(before, after, strict=True)))
    flat, width = seen.reshape(-1), seen.shape[1]
    last = flat.size - width - 1  # anchors of pairs; the one in the last column is none
    found = np.zeros((count + 1, 4), np.int64)
    touches = []
    for direction, (one, other) in enumerate([(0, 1), (0, width), (0, width + 1), (1, width)]):
        at = np.flatnonzero(flat[one : one + last] != flat[other : other + last])
        at = at[at % width != width - 1]
        a, b = flat[at + one], flat[at + other]
        found[:, direction] = np.bincount(a, minlength=count + 1) + np.bincount(b, minlength=count + 1)
        touches.append(_touches(a, b, direction))
    return found[1:], np.concatenate(touches)


def perimeter(
    counts: NDArray[np.int64], y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(N,) perimeters of objects with (N, 4) crossings whose pixels are ``y`` high and ``x`` wide."""
    diagonal, slope = np.hypot(y, x), np.arctan2(y, x)
    between = y * x / diagonal
    # Each direction: the distance of its lines, and the share of all directions that it stands for.
    weights = [y * slope, x * (np.pi / 2 - slope), between * np.pi / 4, between * np.pi / 4]
    return np.asarray((counts * np.stack(weights, axis=1)).sum(axis=1) / 2, np.float64)


def _touches(a: Labels, b: Labels, direction: int) -> Touches:
    both = (a > 0) & (b > 0)
    low, high = np.minimum(a, b)[both].astype(np.int64), np.maximum(a, b)[both].astype(np.int64)
    pairs, times = np.unique(low << 32 | high, return_counts=True)
    return np.column_stack([pairs >> 32, pairs & 0xFFFFFFFF, np.full(len(pairs), direction), times])


Fragments = dict[str, NDArray[Any]]
"""Columns with one row per local label (1, 2, ...):

kind (N,) class; first (N,) raster index of the first pixel in the image; pixels (N,); sums, low, high
(N, dims) of the coordinates, ``high`` behind the last; crossings (N, 4), see above; light (N, C) sums
of the image's channels. Whole numbers all but light, so that no order of adding changes them.
"""

NAMES = ("kind", "first", "pixels", "sums", "low", "high", "crossings", "light")
NEVER = np.iinfo(np.int64).max
_JOINED = {"kind": np.maximum, "first": np.minimum, "low": np.minimum, "high": np.maximum}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a block's own pixels lie: its ``start`` in an image of ``shape``, both with the outer axes."""

    start: tuple[int, ...]
    shape: tuple[int, ...]


def empty(rows: int, dims: int, channels: int) -> Fragments:
    """Columns of labels of which nothing was seen yet."""
    return {
        "kind": np.zeros(rows, np.uint16),
        "first": np.full(rows, NEVER),
        "pixels": np.zeros(rows, np.int64),
        "sums": np.zeros((rows, dims), np.int64),
        "low": np.full((rows, dims), NEVER),
        "high": np.zeros((rows, dims), np.int64),
        "crossings": np.zeros((rows, 4), np.int64),
        "light": np.zeros((rows, channels)),
    }


def measure(
    labels: Labels, classes: Classes, count: int, place: Place, light: NDArray[np.generic] | None = None
) -> Fragments:
    """Fragments of ``count`` local labels over a block's own pixels; crossings are left 0.

    ``light`` is (C, *labels.shape). Works on runs of equal labels along the last axis: far fewer than pixels.
    """
    runs = _Runs.of(labels)
    dims, channels = labels.ndim, [] if light is None else list(light)
    found = empty(count, dims, len(channels))
    if not runs.label.size:
        return found
    order = np.argsort(runs.label, kind="stable")  # runs of a label stay in raster order
    label = runs.label[order]
    heads = np.flatnonzero(np.r_[True, label[1:] != label[:-1]])
    rows = label[heads] - 1
    start, length = runs.start[order], runs.length[order]
    found["kind"][rows] = classes.reshape(-1)[start[heads]]
    found["first"][rows] = _raster(start[heads], labels.shape, place)
    found["pixels"][rows] = np.add.reduceat(length, heads)
    for axis, at in enumerate(np.unravel_index(start, labels.shape)):
        position = at + place.start[axis - dims]
        last = axis == dims - 1
        extent = length if last else 1
        total = length * position + (length * (length - 1) // 2 if last else 0)
        found["sums"][rows, axis] = np.add.reduceat(total, heads)
        found["low"][rows, axis] = np.minimum.reduceat(position, heads)
        found["high"][rows, axis] = np.maximum.reduceat(position + extent, heads)
    for number, channel in enumerate(channels):
        found["light"][rows, number] = np.add.reduceat(runs.sums(channel)[order], heads)
    return found


def joined(parts: Sequence[Fragments]) -> Fragments:
    """All rows of ``parts``, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def chosen(fragments: Fragments, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Fragments:
    """Some rows."""
    return {name: column[rows] for name, column in fragments.items()}


def merged(fragments: Fragments, groups: NDArray[np.integer], count: int) -> Fragments:
    """One row per group; ``groups`` has the group, 0 to ``count`` - 1, of every row, and none is empty."""
    order = np.argsort(groups, kind="stable")
    heads = np.searchsorted(groups[order], np.arange(count))
    return {
        name: _JOINED.get(name, np.add).reduceat(column[order], heads) if count else column[:0]
        for name, column in fragments.items()
    }


@dataclass(frozen=True, slots=True)
class _Runs:
    """Runs of equal labels other than 0 along the last axis, in raster order."""

    start: NDArray[np.int64]
    length: NDArray[np.int64]
    label: Labels

    @classmethod
    def of(cls, labels: Labels) -> "_Runs":
        flat = np.ascontiguousarray(labels).reshape(-1)
        begins = np.empty(flat.size, np.bool_)
        np.not_equal(flat[1:], flat[:-1], out=begins[1:])
        begins[:: labels.shape[-1]] = True
        start = np.flatnonzero(begins)
        length = np.diff(start, append=flat.size)
        label = flat[start]
        real = label > 0
        return cls(start[real], length[real], label[real])

    def sums(self, values: NDArray[np.generic]) -> NDArray[np.float64]:
        """Sum of ``values`` over each run; exact for whole numbers."""
        wide = np.int64 if values.dtype.kind in "biu" else np.float64
        flat = np.append(values.reshape(-1), values.dtype.type(0))  # reduceat wants an end inside
        edges = np.stack([self.start, self.start + self.length], axis=1).reshape(-1)
        return np.add.reduceat(flat, edges, dtype=wide)[::2].astype(np.float64)


def _raster(inside: NDArray[np.int64], extent: Sequence[int], place: Place) -> NDArray[np.int64]:
    """Raster index in the image of pixels ``inside`` a block of ``extent``."""
    outer = len(place.shape) - len(extent)
    index = np.zeros(len(inside), np.int64)
    for position, size in zip(place.start[:outer], place.shape[:outer], strict=True):
        index = index * size + position
    local = np.unravel_index(inside, tuple(extent))
    for at, begin, size in zip(local, place.start[outer:], place.shape[outer:], strict=True):
        index = index * size + at + begin
    return index

"""Fragments: what a block knows of each object that it sees, in columns that add up over blocks."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.instances.labels import Classes, Labels

Fragments = dict[str, NDArray[Any]]
"""Columns with one row per local label (1, 2, ...):

kind (N,) class; first (N,) raster index of the first pixel in the image; pixels (N,); sums, low, high
(N, dims) of the coordinates, ``high`` behind the last; crossings (N, 4), see crossings.py; light (N, C) sums
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

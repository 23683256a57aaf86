"""Faces: the labels where blocks overlap, kept as runs, and which labels of two blocks are one object.

A block sees one pixel more than its own on every high side. That pixel is some neighbour's own: both gave it
a label, so the two labels are one object. Neighbours across edges and corners need no rule of their own.
"""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from unet_batch.instances.labels import Labels

Stored = dict[str, NDArray[np.int64]]


def encode(labels_P: Labels, own: Sequence[int]) -> Stored:
    """The planes of (P, *seen) labels that others will ask for; ``own`` pixels come first on each axis."""
    stored: Stored = {}
    core = labels_P[(slice(None), *map(slice, own))]
    for axis, extent in enumerate(own):
        stored |= _runs(f"face_low{axis}", np.take(core, 0, axis=axis + 1))
        if labels_P.shape[axis + 1] > extent:
            stored |= _runs(f"face_high{axis}", np.take(labels_P, extent, axis=axis + 1))
    return stored


def steps(dims: int) -> list[tuple[int, ...]]:
    """Where the neighbours of a block lie that it overlaps with: one step up on at least one axis."""
    return [step for step in product((0, 1), repeat=dims) if any(step)]


def same(
    lower: Mapping[str, NDArray[np.int64]], upper: Mapping[str, NDArray[np.int64]], step: Sequence[int]
) -> NDArray[np.int64]:
    """(N, 2) labels of the block ``lower`` and of its neighbour ``upper``, ``step`` further, that are one."""
    axis = step.index(1)
    rest = [s for at, s in enumerate(step) if at != axis]
    theirs = _plane(upper, f"face_low{axis}")
    theirs = theirs[(slice(None), *(slice(0, 1) if s else slice(None) for s in rest))]
    ours = _plane(lower, f"face_high{axis}")
    extents = theirs.shape[1:]
    ours = ours[
        (slice(None), *(slice(-1, None) if s else slice(n) for s, n in zip(rest, extents, strict=True)))
    ]
    pairs = np.unique(ours[ours > 0] << 32 | theirs[ours > 0])
    return np.column_stack([pairs >> 32, pairs & 0xFFFFFFFF])


def _runs(name: str, plane: Labels) -> Stored:
    flat = plane.reshape(-1).astype(np.int64)
    start = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    return {
        f"{name}_shape": np.array(plane.shape),
        f"{name}_length": np.diff(start, append=flat.size),
        f"{name}_label": flat[start],
    }


def _plane(stored: Mapping[str, NDArray[np.int64]], name: str) -> NDArray[np.int64]:
    flat = np.repeat(stored[f"{name}_label"], stored[f"{name}_length"])
    return flat.reshape(tuple(stored[f"{name}_shape"]))

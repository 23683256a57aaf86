"""Crossings: how often lines in four directions cross the rim of each object, whence its perimeter.

By Cauchy and Crofton a curve's length is a weighted count of its crossings with sets of parallel lines; with
lines along x, y and both diagonals this is skimage.measure.perimeter_crofton(directions=4), also for pixels
that are not square. Counts add up over blocks: a pair of neighbours belongs to the block of its first pixel.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unet_batch.instances.labels import Labels

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

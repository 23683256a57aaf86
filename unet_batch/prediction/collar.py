"""Collars: pixels without data take what a mirror at the rim of the data would show, as at an image's border.

One axis after the other, the last first: a collar along a straight edge, or around a corner, is filled as
`tiling.border` would fill it if the image ended there. Knows no plan and no files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Valid = NDArray[np.bool_]
# Half of what int64 would have to move; no image has an axis of 2^30 pixels in one read.
Indices = NDArray[np.int32]
_FAR = 2**30


def mirrored(pixels: NDArray[Any], has: Valid, reach: Sequence[int]) -> tuple[NDArray[Any], Valid]:
    """``pixels`` (C, *shape), filled where ``has`` (shape) is not, from up to ``reach`` away on each axis.

    Also gives what is left: farther from data than that. A filled pixel depends on others up to
    2 reach + 1 away alone, so any region that includes these gives the same.
    """
    filled, known = pixels.copy(), has.copy()
    for axis in reversed(range(has.ndim)):
        if not reach[axis]:
            continue
        along, of_line = np.moveaxis(filled, axis + 1, -1), np.moveaxis(known, axis, -1)
        place, source = _mirror(of_line, reach[axis])
        every: tuple[Any, ...] = (slice(None), *place[:-1])
        along[(*every, place[-1])] = along[(*every, source)]
        of_line[place] = True
    return filled, ~known


def _mirror(has: Valid, reach: int) -> tuple[tuple[NDArray[np.int64], ...], NDArray[np.int64]]:
    """The missing pixels that lie near enough to data on the last axis, and where their mirror images are."""
    size = has.shape[-1]
    place = np.broadcast_to(np.arange(size, dtype=np.int32), has.shape)
    before, behind = _last(place, has), _next(place, has)
    near = ~has & ((place - before <= reach) | (behind - place <= reach))
    found = np.nonzero(near)
    here, lines = found[-1], found[:-1]
    before_here, behind_here = before[found], behind[found]
    down, up = here - before_here, behind_here - here
    lower = down <= up
    # Behind a run of data its mirror leads back to where the run opens, before one to where it closes.
    edge = np.zeros((*has.shape[:-1], 1), np.bool_)
    first = _last(place, has & ~np.concatenate([edge, has[..., :-1]], axis=-1))
    last = _next(place, has & ~np.concatenate([has[..., 1:], edge], axis=-1))
    rim = np.where(lower, before_here, behind_here)
    length = last[(*lines, rim)] - first[(*lines, rim)] + 1
    # Fold the way back into a run of data that is shorter than the collar, as border.read does.
    period = np.maximum(2 * length - 2, 1)
    inward = np.minimum(down, up) % period
    inward = np.minimum(inward, period - inward) if size > 1 else inward
    return found, np.clip(np.where(lower, rim - inward, rim + inward), 0, size - 1)


def _last(place: Indices, marked: Valid) -> Indices:
    """Position of the nearest marked pixel at or before each; far below zero where there is none."""
    return np.maximum.accumulate(np.where(marked, place, np.int32(-_FAR)), axis=-1)


def _next(place: Indices, marked: Valid) -> Indices:
    """Position of the nearest marked pixel at or behind each; far above all where there is none."""
    reverse = np.where(marked, place, np.int32(_FAR))[..., ::-1]
    return np.minimum.accumulate(reverse, axis=-1)[..., ::-1]

"""Collars: pixels without data take what a mirror at the rim of the data would show, as at an image's border.

One axis after the other, the last first: a collar along a straight edge, or around a corner, is filled as
`tiling.border` would fill it if the image ended there. Knows no plan and no files.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Valid = NDArray[np.bool_]
Indices = NDArray[np.int64]


def mirrored(pixels: NDArray[Any], has: Valid, reach: Sequence[int]) -> tuple[NDArray[Any], Valid]:
    """``pixels`` (C, *shape), filled where ``has`` (shape) is not, from up to ``reach`` away on each axis.

    Also gives what is left: farther from data than that. A filled pixel depends on others up to
    2 reach + 1 away alone, so any region that includes these gives the same.
    """
    filled, known = pixels, has
    for axis in reversed(range(has.ndim)):
        if not reach[axis]:
            continue
        source, usable = _mirror(np.moveaxis(known, axis, -1), reach[axis])
        source, usable = np.moveaxis(source, -1, axis), np.moveaxis(usable, -1, axis)
        taken = np.take_along_axis(filled, source[np.newaxis], axis=axis + 1)
        filled, known = np.where(usable, taken, filled), known | usable
    return filled, ~known


def _mirror(has: Valid, reach: int) -> tuple[Indices, Valid]:
    """For each pixel of the last axis, where its mirror image is, and whether that is to be taken."""
    size = has.shape[-1]
    place = np.broadcast_to(np.arange(size), has.shape)
    edge = np.zeros((*has.shape[:-1], 1), np.bool_)
    opens = has & ~np.concatenate([edge, has[..., :-1]], axis=-1)
    closes = has & ~np.concatenate([has[..., 1:], edge], axis=-1)
    before, first = _last(place, has), _last(place, opens)
    behind, last = _next(place, has), _next(place, closes)
    down, up = place - before, behind - place
    lower = down <= up
    rim = np.clip(np.where(lower, before, behind), 0, size - 1)
    start, stop = np.take_along_axis(first, rim, -1), np.take_along_axis(last, rim, -1)
    away, length = np.minimum(down, up), stop - start + 1
    # Fold the way back into a run of data that is shorter than the collar, as border.read does.
    period = np.maximum(2 * length - 2, 1)
    inward = away % period
    inward = np.minimum(inward, period - inward) if size > 1 else inward
    source = np.where(lower, rim - inward, rim + inward)
    return np.clip(source, 0, size - 1), ~has & (away <= reach)


def _last(place: Indices, marked: Valid) -> Indices:
    """Position of the nearest marked pixel at or before each; far below zero where there is none."""
    return np.maximum.accumulate(np.where(marked, place, -(2**30)), axis=-1)


def _next(place: Indices, marked: Valid) -> Indices:
    """Position of the nearest marked pixel at or behind each; far above all where there is none."""
    reverse = np.where(marked, place, 2**30)[..., ::-1]
    return np.minimum.accumulate(reverse, axis=-1)[..., ::-1]

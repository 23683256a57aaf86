"""Halving an array: by the most frequent label, or by the mean. Knows no files and no levels.

Uses only what numpy and torch share, so that a device can run it: ``xp`` is the module of ``x``.
Odd ends are padded by their own edge, so halving blocks of even extent equals halving the whole.
"""

from collections.abc import Sequence
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.store.nodata import Nodata, first_of, is_missing


def halve_labels(x: Any, axes: Sequence[int], fill: int, xp: Any = np) -> Any:
    """``x`` halved along ``axes``: each pixel the most frequent of its 2^n children.

    ``fill`` loses against any label; ties go to the smallest label. Same type as ``x`` (torch: one that
    torch can compare).
    """
    children = _sorted(_children(x, axes, xp), xp)
    best = children[0]
    run = most = xp.asarray(best != fill, dtype=xp.uint8)  # how often in a row; fill never is
    for before, child in pairwise(children):
        run = (run * (before == child) + 1) * (child != fill)
        best = best + (child - best) * (run > most)  # wraps around and back; many times faster than `where`
        most = xp.maximum(most, run)
    return best


def halve_mean(x: Any, axes: Sequence[int], xp: Any = np, nodata: Nodata = None) -> Any:
    """``x`` halved along ``axes`` by the mean of the children that are not ``nodata``, in the type of ``x``.

    Integers are rounded half up. Where no child is data, and only there, ``nodata`` (which may be NaN; the
    first of several) comes out.
    """
    children = _children(x, axes, xp)
    wide = _wide(str(x.dtype), xp)
    # Only numpy is asked: a device would have to be waited for.
    if nodata is None or (xp is np and bool(_is_data(x, nodata).all())):
        total: Any = sum(xp.asarray(child, dtype=wide) for child in children)
        mean = _mean(total, len(children), x, xp)
        if nodata is None or bool(_is_data(mean, nodata).all()):
            return mean
    total, count = 0, 0
    for child in children:
        valid = _is_data(child, nodata)
        total = total + xp.asarray(xp.where(valid, child, xp.zeros_like(child)), dtype=wide)
        count = count + xp.asarray(valid, dtype=wide)
    mean = _mean(total, xp.where(count == 0, xp.ones_like(count), count), x, xp)
    # A mean of data that happens to be ``nodata`` (of 4 and 6 where that is 5) becomes one of its children.
    smallest = reduce(xp.minimum, [_or_largest(child, nodata, xp) for child in children])
    mean = xp.where(_is_data(mean, nodata), mean, smallest)
    return xp.where(count == 0, xp.full_like(mean, first_of(nodata)), mean)


def halve_max(x: NDArray[Any], axes: Sequence[int]) -> NDArray[Any]:
    """``x`` halved along ``axes`` by the largest of the children: 0 only where all of them are."""
    largest: NDArray[Any] = reduce(np.maximum, _children(x, axes, np))
    return largest


def _or_largest(child: Any, nodata: Nodata, xp: Any) -> Any:
    limit = xp.iinfo(child.dtype).max if "int" in str(child.dtype) else float("inf")
    return xp.where(_is_data(child, nodata), child, xp.full_like(child, limit))


def _mean(total: Any, count: Any, x: Any, xp: Any) -> Any:
    whole = "int" in str(x.dtype)
    return xp.asarray((2 * total + count) // (2 * count) if whole else total / count, dtype=x.dtype)


def _children(x: Any, axes: Sequence[int], xp: Any) -> list[Any]:
    children = [x]
    for axis in axes:
        if x.shape[axis] % 2:
            end = (slice(None),) * (axis % x.ndim)
            children = [xp.concatenate([c, c[(*end, slice(-1, None))]], axis=axis) for c in children]
        before = (slice(None),) * (axis % x.ndim)
        children = [c[(*before, slice(first, None, 2))] for c in children for first in (0, 1)]
    return children


def _sorted(children: list[Any], xp: Any) -> list[Any]:
    """Pixel by pixel in ascending order, by exchanging odd and even neighbours."""
    for turn in range(len(children)):
        for k in range(turn % 2, len(children) - 1, 2):
            a, b = children[k : k + 2]
            children[k : k + 2] = xp.minimum(a, b), xp.maximum(a, b)
    return children


def _is_data(x: Any, nodata: Nodata) -> Any:
    return ~is_missing(x, nodata)


def _wide(dtype: str, xp: Any) -> Any:
    name = dtype.removeprefix("torch.")
    if name in {"bool", "uint8", "int8", "uint16", "int16"}:
        return xp.int32
    if name in {"uint32", "int32", "int64", "uint64"}:
        return xp.int64
    return xp.float64 if name == "float64" else xp.float32

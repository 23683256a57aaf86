"""Labels of instances: which pixels of a box belong together. Knows no blocks, stores or networks.

Instances are sets of neighbouring pixels of one class. Border pixels join the instance whose nearest pixel
can be reached in the fewest steps by faces through the border class; among equally near pixels the first in
raster order wins. So the label of a pixel follows from its surroundings within the reach alone, and blocks
that are labelled apart agree. A flood by priority (skimage.segmentation.watershed) does not promise that:
there the order of the queue decides ties. Away from ties both agree.

    >>> import numpy as np
    >>> row = np.array([[1, 2, 2, 2, 1, 0]])          # interior 1, border 2, background 0
    >>> labels, _ = instances((row == 1).astype("u2"), row == 2, connectivity=1, reach=16)
    >>> labels.tolist()
    [[1, 1, 1, 2, 2, 0]]
"""

from collections.abc import Sequence
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

NumberT = TypeVar("NumberT", bound=np.generic)
Labels = NDArray[np.int32]
Classes = NDArray[np.uint16]
# cc3d names a neighbourhood by its number of neighbours.
_Neighbours = Literal[4, 6, 8, 18, 26]
_NEIGHBOURS: dict[tuple[int, int], _Neighbours] = {
    (2, 1): 4,
    (2, 2): 8,
    (3, 1): 6,
    (3, 2): 18,
    (3, 3): 26,
}
_NOWHERE = np.iinfo(np.int64).max


def instances(
    classes: Classes, border: NDArray[np.bool_] | None, *, connectivity: int, reach: int
) -> tuple[Labels, Classes]:
    """Connected pixels of each class, grown into the border.

    Args:
        classes: (*box) numbers of classes from 1 on, 2-D or 3-D; 0 belongs to no instance.
        border: (*box) pixels that belong to the nearest instance; None grows nothing.
        connectivity: pixels are neighbours that differ by one step on at most so many axes.
        reach: how many pixels an instance grows into the border.

    Returns:
        (*box) labels from 1 on, 0 where there is no instance, and the class of each pixel after growing.
        Labels of pixels that lie ``reach`` or more away from the rim of the box do not depend on the box,
        but for their numbers.
    """
    labels = components(classes, connectivity)
    return (labels, classes) if border is None else grow(labels, classes, border, reach)


def without_small(labels: Labels, smallest: int) -> Labels:
    """``labels`` (*box) without those of fewer than ``smallest`` pixels, numbered from 1 without gaps."""
    kept = np.bincount(labels.reshape(-1)) >= smallest
    kept[0] = False
    return np.asarray((np.cumsum(kept, dtype=np.int32) * kept)[labels], np.int32)


def components(classes: Classes, connectivity: int) -> Labels:
    """Numbers from 1 on for the connected pixels of each class, 2-D or 3-D; 0 where the class is 0."""
    import cc3d  # noqa: PLC0415 - an extra

    neighbours = _NEIGHBOURS[classes.ndim, min(connectivity, classes.ndim)]
    found = cc3d.connected_components(
        np.ascontiguousarray(classes), connectivity=neighbours, out_dtype=np.uint32
    )
    return np.asarray(found).view(np.int32)


def grow(labels: Labels, classes: Classes, free: NDArray[np.bool_], reach: int) -> tuple[Labels, Classes]:
    """``labels`` and ``classes`` after up to ``reach`` steps into the pixels that are ``free`` of a class.

    Each step looks one pixel far, so pixels ``reach`` away from the rim of the box are final.
    """
    padded = np.pad(labels, 1)
    source = np.full(padded.size, _NOWHERE)
    seeds = np.flatnonzero(padded)
    source[seeds] = seeds  # padding keeps the raster order of pixels
    open_ = np.pad(free & (labels == 0), 1).reshape(-1)
    near = grown = np.flatnonzero(open_)
    steps = [sign * stride for stride in _strides(padded.shape) for sign in (-1, 1)]
    for _ in range(reach):
        nearest = np.minimum.reduce([source[near + step] for step in steps])
        found = nearest != _NOWHERE
        reached = near[found]
        source[reached] = nearest[found]
        open_[reached] = False
        near = _taken(open_, [reached + step for step in steps])
        if not near.size:
            break
    grown = grown[source[grown] != _NOWHERE]
    inside = (slice(1, -1),) * labels.ndim
    return _carried(padded, source, grown)[inside], _carried(np.pad(classes, 1), source, grown)[inside]


def _taken(open_: NDArray[np.bool_], around: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """The ``open_`` pixels of all in ``around``, each once; they are open no more.

    A pixel is reached one step after the first of its neighbours, so these are all that come next.
    """
    found = []
    for pixels in around:
        found.append(pixels[open_[pixels]])
        open_[found[-1]] = False
    return np.concatenate(found)


def compact(labels: Labels) -> Labels:
    """The same partition with numbers from 1 on and none left out."""
    return without_small(labels, 1)


def _carried(
    values: NDArray[NumberT], source: NDArray[np.int64], grown: NDArray[np.int64]
) -> NDArray[NumberT]:
    flat = values.reshape(-1)
    flat[grown] = flat[source[grown]]
    return values


def _strides(shape: tuple[int, ...]) -> list[int]:
    """How far neighbours along each axis lie apart in a flattened array."""
    strides = [1]
    for extent in reversed(shape[1:]):
        strides.append(strides[-1] * extent)
    return strides

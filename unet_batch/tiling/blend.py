"""Weights where tiles overlap, for networks whose answer depends on the tile they see."""

from collections.abc import Sequence
from functools import reduce

import numpy as np
from numpy.typing import NDArray


def weights(tile: Sequence[int], step: Sequence[int]) -> NDArray[np.float32]:
    """Weight of every pixel of a tile: 1 inside, falling linearly to its rim over the overlap, never 0."""
    ramps = [_ramp(extent, extent - distance) for extent, distance in zip(tile, step, strict=True)]
    return reduce(np.multiply.outer, ramps).astype(np.float32)


def _ramp(extent: int, overlap: int) -> NDArray[np.float64]:
    position = np.arange(extent)
    to_rim = np.minimum(position + 1, extent - position)
    return np.minimum(to_rim / (overlap + 1), 1.0)

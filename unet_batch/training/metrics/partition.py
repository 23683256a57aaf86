"""How well one partition of pixels into segments agrees with another: V-Rand, V-Info, adapted Rand error.

Foreground-restricted: pixels that no true segment holds (label 0 of the truth) take no part.
Source: Arganda-Carreras et al. 2015, doi.org/10.3389/fnana.2015.00142, with both weights one half.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array


@dataclass(frozen=True, slots=True)
class PartitionScores:
    """From 0 to 1; of the first two more is better.

    ``rand_error`` is 1 - V-Rand but for pairs of a pixel with itself, which scikit-image's
    ``adapted_rand_error``, and so this, leaves out.
    """

    v_rand: float
    v_info: float
    rand_error: float


def compare(truth: NDArray[np.integer], found: NDArray[np.integer]) -> PartitionScores | None:
    """Scores of the segments ``found`` against ``truth``, both label images of one shape.

    Label 0 of ``found`` is a segment like any other. None where the truth has no segment.
    """
    inside = truth > 0
    if not inside.any():
        return None
    _, rows = np.unique(truth[inside], return_inverse=True)
    _, columns = np.unique(found[inside], return_inverse=True)
    counts = coo_array((np.ones(rows.size), (rows, columns))).tocsr()
    parts = (counts.data, counts.sum(axis=1), counts.sum(axis=0))  # common, true and found segments
    common, true, segments = (float((part**2).sum()) for part in parts)
    pairs = (true + segments) / 2 - rows.size
    shares = (_entropy(part / rows.size) for part in parts)
    return PartitionScores(
        v_rand=common / ((true + segments) / 2),
        v_info=_shared(*shares),
        rand_error=1 - (common - rows.size) / pairs if pairs > 0 else 0.0,
    )


def _shared(joint: float, true: float, found: float) -> float:
    """Mutual information over the mean of both entropies."""
    both = (true + found) / 2
    return (true + found - joint) / both if both > 0 else 1.0


def _entropy(shares: NDArray[np.float64]) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())

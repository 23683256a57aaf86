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
    """From 0 to 1. ``rand_error`` is 1 - ``v_rand``, as scikit-image's adapted_rand_error has it."""

    v_rand: float
    v_info: float

    @property
    def rand_error(self) -> float:
        """Adapted Rand error."""
        return 1 - self.v_rand


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
    joint, true, segments = (
        counts.data / rows.size,
        counts.sum(axis=1) / rows.size,
        counts.sum(axis=0) / rows.size,
    )
    v_rand = (joint**2).sum() / (0.5 * (true**2).sum() + 0.5 * (segments**2).sum())
    shared = _entropy(true) + _entropy(segments) - _entropy(joint)
    both = 0.5 * _entropy(true) + 0.5 * _entropy(segments)
    return PartitionScores(float(v_rand), float(shared / both) if both > 0 else 1.0)


def _entropy(shares: NDArray[np.float64]) -> float:
    present = shares[shares > 0]
    return float(-(present * np.log(present)).sum())

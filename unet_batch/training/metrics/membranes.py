"""Scores of cells between membranes, plane by plane, as the ISBI 2012 challenge computed them.

True cells are the 4-connected parts of what is not membrane. A proposal's membranes are first thinned to
lines of one pixel by a watershed that grows its cells (as Fiji's RandError does "after thinning"). Partitions
are compared by V-Rand, V-Info and the adapted Rand error, restricted to the foreground: pixels that no true
segment holds (label 0 of the truth) take no part.
Source: Arganda-Carreras et al. 2015, doi.org/10.3389/fnana.2015.00142, with both weights one half.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from skimage.segmentation import watershed


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


MEMBRANE_SCORES = ("v_rand", "v_info", "rand_error", "membrane_threshold")


def cells(membrane: NDArray[np.bool_]) -> NDArray[np.int32]:
    """4-connected parts (Y, X) of what is not membrane, numbered from 1; 0 on membranes."""
    return np.asarray(ndimage.label(~membrane)[0], np.int32)


def thinned(membrane: NDArray[np.bool_]) -> NDArray[np.int32]:
    """``cells`` grown over the membranes until lines of one pixel (0) part them."""
    parts = cells(membrane)
    if not parts.any():
        return parts
    height = ndimage.distance_transform_edt(membrane)
    lines = watershed(height, parts, connectivity=1, watershed_line=True)  # type: ignore[no-untyped-call]  # untyped upstream
    return np.asarray(lines, np.int32)


@dataclass(slots=True)
class MembraneTally:
    """Sums over planes of V-Rand, V-Info and adapted Rand error, for each threshold on the probability."""

    thresholds: tuple[float, ...]
    planes: int = 0
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))

    def __post_init__(self) -> None:
        if not self.sums.size:
            self.sums = np.zeros((len(self.thresholds), 3))

    def add(
        self, truth: NDArray[np.bool_], known: NDArray[np.bool_], probability: NDArray[np.floating]
    ) -> None:
        """Count one plane (Y, X): where membrane is, where that is known, and how likely it was called."""
        true_cells = np.where(known, cells(truth | ~known), 0)
        if not true_cells.any():
            return
        self.planes += 1
        for place, threshold in enumerate(self.thresholds):
            found = compare(true_cells, thinned(probability >= threshold))
            assert found is not None
            self.sums[place] += found.v_rand, found.v_info, found.rand_error

    def __add__(self, other: "MembraneTally") -> "MembraneTally":
        return MembraneTally(self.thresholds, self.planes + other.planes, self.sums + other.sums)

    def scores(self) -> dict[str, float]:
        """Means over planes at the threshold with the best V-Rand."""
        if not self.planes:
            return {}
        best = int(self.sums[:, 0].argmax())
        values = (*map(float, self.sums[best] / self.planes), self.thresholds[best])
        return dict(zip(MEMBRANE_SCORES, values, strict=True))

"""Average precision of instances, in planes or volumes."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
INSTANCE_SCORES = (*(f"ap{round(100 * t)}" for t in THRESHOLDS), "mean_ap")


def overlaps(truth: NDArray[np.integer], found: NDArray[np.integer]) -> NDArray[np.float64]:
    """(true instances, found instances) intersection over union; 0 is background in both."""
    _, rows = np.unique(truth, return_inverse=True)
    _, columns = np.unique(found, return_inverse=True)
    rows, columns = rows.ravel() + (not (truth == 0).any()), columns.ravel() + (not (found == 0).any())
    counts = coo_array((np.ones(rows.size), (rows, columns))).toarray()
    union = counts.sum(axis=1, keepdims=True) + counts.sum(axis=0, keepdims=True) - counts
    return np.asarray((counts / np.maximum(union, 1))[1:, 1:], np.float64)


@dataclass(slots=True)
class InstanceTally:
    """Sums over images of their average precision at each of THRESHOLDS (Caicedo et al. 2019: DSB 2018).

    A found instance is right where its overlap with a true one exceeds the threshold, which above one half
    only one can; the precision of an image is right / (right + missed + wrong).
    """

    images: int = 0
    precision: NDArray[np.float64] = field(default_factory=lambda: np.zeros(len(THRESHOLDS)))

    def add(self, truth: NDArray[np.integer], found: NDArray[np.integer]) -> None:
        """Count one image of labels; one without instances in both says nothing."""
        overlap = overlaps(truth, found)
        true, proposed = overlap.shape
        if not true + proposed:
            return
        self.images += 1
        for place, threshold in enumerate(THRESHOLDS):
            right = int((overlap > threshold).any(axis=1).sum()) if overlap.size else 0
            self.precision[place] += right / (true + proposed - right)

    def __add__(self, other: "InstanceTally") -> "InstanceTally":
        return InstanceTally(self.images + other.images, self.precision + other.precision)

    def scores(self) -> dict[str, float]:
        """Means over images, at each threshold and over all of them."""
        if not self.images:
            return {}
        means = self.precision / self.images
        return dict(zip(INSTANCE_SCORES, map(float, [*means, means.mean()]), strict=True))

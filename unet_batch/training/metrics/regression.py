"""Scores of regression: PSNR, SSIM and Pearson's correlation of every channel."""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

REGRESSION_SCORES = ("psnr", "pearson", "ssim")
_WINDOW = 7  # scikit-image's own


@dataclass(slots=True)
class RegressionTally:
    """Sums over known pixels of every channel; SSIM is a mean over boxes, weighted by their known pixels.

    ``data_range`` is the largest less the smallest target, of PSNR and SSIM.
    """

    names: tuple[str, ...]
    data_range: float
    sums: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 8)))

    def __post_init__(self) -> None:
        if not self.sums.size:
            self.sums = np.zeros((len(self.names), 8))

    def add(self, truth_KX: NDArray[Any], found_KX: NDArray[Any]) -> None:
        """Count one box: (K, *box), NaN where the truth is not known."""
        for row, truth, found in zip(self.sums, truth_KX, found_KX, strict=True):
            known = ~np.isnan(truth)
            x, y = truth[known].astype(np.float64), found[known].astype(np.float64)
            row[:6] += [x.size, x.sum(), y.sum(), (x * x).sum(), (y * y).sum(), (x * y).sum()]
            if min(truth.shape) >= _WINDOW and known.all():
                row[6:] += [x.size * self._ssim(truth, found), x.size]

    def __add__(self, other: "RegressionTally") -> "RegressionTally":
        return RegressionTally(self.names, self.data_range, self.sums + other.sums)

    def scores(self) -> dict[str, float]:
        """Means over channels, and each channel's own where there are several."""
        each = {name: self._of(row) for name, row in zip(self.names, self.sums, strict=True)}
        found: dict[str, float] = {}
        for score in REGRESSION_SCORES:
            values = [one[score] for one in each.values() if score in one]
            if values:
                found[score] = sum(values) / len(values)
            if len(self.names) > 1:
                found |= {f"{score}_{name}": one[score] for name, one in each.items() if score in one}
        return found

    def _of(self, row: NDArray[np.float64]) -> dict[str, float]:
        n, x, y, xx, yy, xy, ssim, windows = (float(value) for value in row)
        if not n:
            return {}
        error = (xx - 2 * xy + yy) / n
        found = {"psnr": 10 * math.log10(self.data_range**2 / error)} if error > 0 else {}
        spread = (n * xx - x * x) * (n * yy - y * y)
        if spread > 0:
            found["pearson"] = (n * xy - x * y) / math.sqrt(spread)
        if windows:
            found["ssim"] = ssim / windows
        return found

    def _ssim(self, truth: NDArray[Any], found: NDArray[Any]) -> float:
        both = (array.astype(np.float64) for array in (truth, found))
        found = structural_similarity(  # type: ignore[no-untyped-call]  # untyped upstream
            *both, data_range=self.data_range, win_size=_WINDOW
        )
        return float(found)

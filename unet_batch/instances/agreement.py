"""Agreement: how well numbered instances agree with others, from the pixels that each pair shares.

Pixels are counted box by box and added up, so an image of any size may be judged. The formulas are those of
validation: average precision as in Caicedo et al. 2019 (DSB 2018), V-Rand and V-Info as in Arganda-Carreras
et al. 2015.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)


def _nothing() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True)
class Agreement:
    """Pixels by pair of a true and a found instance; 0 is none.

    Attributes:
        true, found: numbers of each pair.
        pixels: that it shares.
    """

    true: NDArray[np.int64] = field(default_factory=_nothing)
    found: NDArray[np.int64] = field(default_factory=_nothing)
    pixels: NDArray[np.int64] = field(default_factory=_nothing)

    @classmethod
    def of(cls, truth: NDArray[np.integer], found: NDArray[np.integer]) -> "Agreement":
        """Of one box; numbers are below 2**32."""
        keys = truth.astype(np.int64).reshape(-1) << 32 | found.astype(np.int64).reshape(-1)
        unique, pixels = np.unique(keys, return_counts=True)
        return cls(unique >> 32, unique & 0xFFFFFFFF, pixels.astype(np.int64))

    def __add__(self, other: "Agreement") -> "Agreement":
        keys = np.concatenate([self.true << 32 | self.found, other.true << 32 | other.found])
        unique, place = np.unique(keys, return_inverse=True)
        pixels = np.zeros(len(unique), np.int64)
        np.add.at(pixels, place.reshape(-1), np.concatenate([self.pixels, other.pixels]))
        return Agreement(unique >> 32, unique & 0xFFFFFFFF, pixels)

    @property
    def counts(self) -> tuple[int, int]:
        """How many true and how many found instances there are."""
        return len(np.unique(self.true[self.true > 0])), len(np.unique(self.found[self.found > 0]))

    def scores(self) -> dict[str, float]:
        """ap50 to ap90 and mean_ap, v_rand, v_info and rand_error; what nothing says of is left out."""
        return {**self._precision(), **self._partition()}

    def _precision(self) -> dict[str, float]:
        """Right over right, missed and wrong, at each overlap (intersection over union)."""
        true, found = self.counts
        if not true + found:
            return {}
        both = (self.true > 0) & (self.found > 0)
        union = _areas(self.true, self.pixels) + _areas(self.found, self.pixels) - self.pixels
        overlap = self.pixels[both] / union[both]
        right = [int((overlap > threshold).sum()) for threshold in THRESHOLDS]
        values = [one / (true + found - one) for one in right]
        names = [f"ap{round(100 * threshold)}" for threshold in THRESHOLDS]
        return {**dict(zip(names, values, strict=True)), "mean_ap": sum(values) / len(values)}

    def _partition(self) -> dict[str, float]:
        """Over the pixels of true instances; 0 of what was found is a segment like any other."""
        inside = self.true > 0
        common = self.pixels[inside].astype(np.float64)
        if not common.size:
            return {}
        true, found = (_sums(one[inside], common) for one in (self.true, self.found))
        total = common.sum()
        squares = [float((part**2).sum()) for part in (common, true, found)]
        joint, apart, together = (_entropy(part / total) for part in (common, true, found))
        pairs = (squares[1] + squares[2]) / 2
        mean = (apart + together) / 2
        return {
            "v_rand": squares[0] / pairs,
            "v_info": (apart + together - joint) / mean if mean > 0 else 1.0,
            "rand_error": 1 - (squares[0] - total) / (pairs - total) if pairs > total else 0.0,
        }


def _sums(numbers: NDArray[np.int64], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    _, place = np.unique(numbers, return_inverse=True)
    return np.asarray(np.bincount(place.reshape(-1), pixels), np.float64)


def _areas(numbers: NDArray[np.int64], pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The pixels of each pair's instance."""
    _, place = np.unique(numbers, return_inverse=True)
    place = place.reshape(-1)
    return np.bincount(place, pixels).astype(np.int64)[place]


def _entropy(shares: NDArray[np.float64]) -> float:
    return float(-(shares * np.log(shares)).sum())

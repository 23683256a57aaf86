"""Summary: how many objects an image has, how densely they lie, and how large the one in the middle is."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from math import prod

import numpy as np

from unet_batch.errors import MissingError
from unet_batch.products.scale import Scale
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks import Masks
from unet_batch.store.units import length

_MICROMETRES = {"mm": 1e3, "km": 1e9}


@dataclass(frozen=True, slots=True)
class Summary:
    """The objects of one image.

    Attributes:
        count: how many.
        density: how many per ``per`` of the pixels with data; None where the size of a pixel is not known.
        per: mm², on maps km²; of volumes mm³.
        median: of their areas, or volumes, in ``unit``; None without objects, and where the areas of
            pixels differ.
        unit: of the median.
    """

    count: int
    density: float | None
    per: str
    median: float | None
    unit: str

    @classmethod
    def of(cls, masks: Masks, dims: int, sizes: Mapping[int, int]) -> "Summary":
        """The summary of objects over ``dims`` axes, of which ``sizes`` tells how many have N pixels."""
        scale, count = Scale.of(masks), sum(sizes.values())
        power, name = "²³"[dims - 2], "mm" if masks.georef is None else "km"
        known, median = length(scale.unit), None
        if count and scale.ellipsoid is None:
            median = _median(sizes, count) * float(scale.measures(np.zeros(1), dims)[0])
        covered = _covered(masks, scale, dims)
        density = None
        if known is not None and covered:
            density = count / (covered * (known.micrometres / _MICROMETRES[name]) ** dims)
        return cls(count, density, name + power, median, scale.unit_of(dims))


def _median(sizes: Mapping[int, int], count: int) -> float:
    """The median of the sizes, as numpy has it."""
    ordered = sorted(sizes)
    ends = [*accumulate(sizes[size] for size in ordered)]
    low, high = np.searchsorted(ends, [(count - 1) // 2, count // 2], side="right")
    return float(ordered[low] + ordered[high]) / 2


def _covered(masks: Masks, scale: Scale, dims: int) -> float:
    """Area, or volume, of the pixels with data, in the scale's unit; of all where no ledger counts them."""
    *outer, height, width = masks.layout.shape
    if scale.ellipsoid is not None:
        return float(scale.measures(np.arange(float(height)), dims).sum()) * width * prod(outer)
    pixels = prod(masks.layout.shape)
    try:
        counted = sum(Ledger.open(masks.path).totals().class_counts)
    except MissingError:
        counted = 0
    if counted and masks.layout.kind == "multiclass":
        pixels = counted
    return pixels * float(scale.measures(np.zeros(1), dims)[0])

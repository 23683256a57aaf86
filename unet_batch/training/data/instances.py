"""Instance numbers become background, interior and border, and the border weight map of the U-Net paper.

Pure functions of one box. Instances are numbers above 0; the spatial axes are the last ``dims``.
"""

import math
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unet_batch.training.data.config import BorderWeights, InstanceClasses
from unet_batch.training.data.labels import LabelForm

# Past this many sigmas the exponential is below exp(-8): with w0 = 10, 0.003 of a weight of 1.
_SIGMAS = 4.0
# How far around a box an instance is looked at to learn how wide it is.
_CORE_REACH = 64


@dataclass(frozen=True, slots=True)
class InteriorBorder:
    """The rule that makes classes of instance numbers: (1, *box) to (1, *box)."""

    config: InstanceClasses
    form: LabelForm
    unlabelled: int
    dims: int

    @property
    def reach(self) -> int:
        """Pixels around a pixel that its class depends on."""
        return max(math.floor(self.config.radius), _CORE_REACH if self.config.core else 0)

    def __call__(self, ids: NDArray[Any]) -> NDArray[Any]:
        """Classes 0 background, 1 interior, 2 border (where the model has it), and unlabelled."""
        known = ids != self.unlabelled
        instance = known & (ids > 0)
        classes = instance.astype(self.form.dtype)
        if len(self.form.names) > 2:
            edge = _edges(ids, known, _offsets(self.config.radius, self.dims))
            classes[edge & instance if self.config.border == "inner" else edge] = 2
            if self.config.core:
                self._widen(classes, np.where(instance, ids, 0))
        classes[~known] = int(self.form.fill)
        return np.asarray(classes)

    def _widen(self, classes: NDArray[Any], numbers: NDArray[Any]) -> None:
        """Interior near the edge of its instance, by the share that the settings name, becomes border."""
        for outer in np.ndindex(numbers.shape[: numbers.ndim - self.dims]):
            dense = np.unique(numbers[outer], return_inverse=True)[1].reshape(numbers[outer].shape)
            dense += numbers[outer].min() > 0
            for number, found in enumerate(ndimage.find_objects(dense), start=1):
                near = _grown(found, 1, dense.shape)
                inside = dense[near] == number
                if not inside.all():  # an edge lies in the box
                    depth = ndimage.distance_transform_edt(inside)
                    thin = inside & (depth <= self.config.core * depth.max())
                    classes[outer][near][thin] = 2


@dataclass(frozen=True, slots=True)
class BorderWeightMap:
    """The rule that makes weights of instance numbers: (1, *box) to (1, *box) float32.

    1 + w0 exp(-(d1 + d2)^2 / (2 sigma^2)) outside instances and (unless the settings say otherwise) 1
    inside, d1 and d2 being the distances to the two nearest. Instances farther than ``reach`` are not
    looked for: what they would add is below w0 exp(-8).
    """

    config: BorderWeights
    unlabelled: int
    dims: int

    @property
    def reach(self) -> int:
        """Pixels around a pixel that its weight depends on."""
        return math.ceil(_SIGMAS * self.config.sigma)

    def __call__(self, ids: NDArray[Any]) -> NDArray[np.float32]:
        """The weights of one box of instance numbers."""
        numbers = np.where(ids == self.unlabelled, 0, ids)[0]
        weights = np.ones(ids.shape, np.float32)
        for outer in np.ndindex(numbers.shape[: numbers.ndim - self.dims]):
            weights[(0, *outer)] += self._added(numbers[outer])
        return weights

    def _added(self, numbers: NDArray[Any]) -> NDArray[np.float32]:
        nearest = np.full((2, *numbers.shape), np.inf, np.float32)
        dense = np.unique(numbers, return_inverse=True)[1].reshape(numbers.shape)
        dense += numbers.min(initial=1) > 0  # where no pixel is 0, the first instance is not the background
        for number, found in enumerate(ndimage.find_objects(dense), start=1):
            if found is not None:
                near = _grown(found, self.reach, numbers.shape)
                away = ndimage.distance_transform_edt(dense[near] != number)
                _keep_nearest(nearest[(slice(None), *near)], np.asarray(away, np.float32))
        added = self.config.w0 * np.exp(-(nearest.sum(axis=0) ** 2) / (2 * self.config.sigma**2))
        return np.asarray(added if self.config.inside else np.where(numbers > 0, 0, added), np.float32)


@dataclass(frozen=True, slots=True)
class Components:
    """The rule that makes instance numbers of one class: its connected parts, (1, *box) to (1, *box).

    Parts are told apart within the box alone: two arms of one part that meet outside it count as two.
    """

    label: int
    dims: int

    def __call__(self, classes: NDArray[Any]) -> NDArray[np.int32]:
        """Numbers from 1 on in every plane or volume of the box."""
        numbers = np.zeros(classes.shape, np.int32)
        for outer in np.ndindex(classes.shape[: classes.ndim - self.dims]):
            ndimage.label(classes[outer] == self.label, output=numbers[outer])
        return numbers


def _edges(ids: NDArray[Any], known: NDArray[np.bool_], offsets: list[tuple[int, ...]]) -> NDArray[np.bool_]:
    """Pixels with a pixel of another number at one of ``offsets`` to either side."""
    edge = np.zeros(ids.shape, np.bool_)
    for offset in offsets:
        one, other = _pair(ids.ndim, offset)
        unlike = (ids[one] != ids[other]) & known[one] & known[other]
        edge[one] |= unlike
        edge[other] |= unlike
    return edge


def _pair(ndim: int, offset: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Indices of all pixels and of those at ``offset`` from them, where both lie inside."""
    whole = (slice(None),) * (ndim - len(offset))
    one = tuple(slice(max(0, -o), -o if o > 0 else None) for o in offset)
    other = tuple(slice(max(0, o), o if o < 0 else None) for o in offset)
    return whole + one, whole + other


def _offsets(radius: float, dims: int) -> list[tuple[int, ...]]:
    """The offsets within ``radius`` of the origin: of each and its opposite, one."""
    reach = range(-math.floor(radius), math.floor(radius) + 1)
    origin = (0,) * dims
    return [o for o in product(reach, repeat=dims) if o > origin and math.dist(o, origin) <= radius]


def _grown(found: tuple[slice, ...], reach: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(max(0, s.start - reach), min(n, s.stop + reach)) for s, n in zip(found, shape, strict=True)
    )


def _keep_nearest(nearest: NDArray[np.float32], away: NDArray[np.float32]) -> None:
    """Let ``away`` take its place among the two smallest distances of every pixel, in place."""
    np.minimum(nearest[1], np.maximum(nearest[0], away), out=nearest[1])
    np.minimum(nearest[0], away, out=nearest[0])

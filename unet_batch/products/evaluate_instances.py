"""Instances against instance numbers: what `evaluate` does with label_kind ``instances``."""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.instances.agreement import Agreement
from unet_batch.instances.labels import instances, without_small
from unet_batch.models.instance_rules import InstanceRules
from unet_batch.store.image import Image
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

# Pixels of an image whose instances are made here, all at once.
_MOST_PIXELS = 2**27

Numbers = Callable[[Box], NDArray[Any]]
Found = tuple[Agreement, NDArray[np.int64]]


def compare_instances(
    masks: Masks, truth: Image, ignore: int | None, boxes: Iterator[Box], rules: InstanceRules
) -> Found:
    """Agreement of instances, and the (2, 2) pixel counts of background and instances, truth along rows.

    Args:
        masks: instance numbers, as ``objects --labels`` writes them, or classes: the first is the background,
            one named ``border`` belongs to the nearest instance.
        truth: instance numbers, 0 where there is none.
        ignore: number that leaves a pixel open.
        boxes: where to compare.
        rules: how classes become instances.

    Raises:
        InputError: classes of an image that is too large to make its instances here.
    """
    read = _numbers(masks, rules)
    agreement, counts = Agreement(), np.zeros((2, 2), np.int64)
    for box in boxes:
        true, found = truth.read(box)[0].astype(np.int64), read(box).astype(np.int64)
        if ignore is not None:
            known = true != ignore
            true, found = true[known], found[known]
        agreement += Agreement.of(true, found)
        counts += np.bincount(2 * (true > 0).ravel() + (found > 0).ravel(), minlength=4).reshape(2, 2)
    return agreement, counts


def _numbers(masks: Masks, rules: InstanceRules) -> Numbers:
    layout = masks.layout
    if layout.kind == "instances":
        return lambda box: masks.read(box)[0]
    if layout.kind != "multiclass":
        raise InputError(
            f"{masks.path}: holds {layout.kind}, which have no instances; give classes or numbers"
        )
    if prod(layout.shape) > _MOST_PIXELS:
        raise InputError(
            f"{masks.path}: too large to make its instances here; run `unet-batch objects {masks.path} "
            "OBJECTS.parquet --labels NUMBERS.zarr` first and give NUMBERS.zarr"
        )
    whole = _made(masks.read(Box.of_shape(layout.shape))[0], masks, rules)
    return lambda box: whole[box.slices]


def _made(classes: NDArray[Any], masks: Masks, rules: InstanceRules) -> NDArray[Any]:
    """Instances of a whole image, plane by plane where the network saw planes."""
    layout = masks.layout
    border = layout.names.index("border") if "border" in layout.names else None
    of_interest = (classes > 0) & (classes != layout.fill)
    edge = None if border is None else classes == border
    interior = np.where(of_interest if edge is None else of_interest & ~edge, classes, 0).astype(np.uint16)
    numbers, last = np.zeros(classes.shape, np.int64), 0
    for outer in np.ndindex(classes.shape[: -layout.dims]):
        rim = None if edge is None else edge[outer]
        found, _ = instances(interior[outer], rim, connectivity=rules.connectivity, reach=rules.reach)
        found = without_small(found, rules.smallest)
        numbers[outer] = np.where(found > 0, found + last, 0)
        last = max(last, int(numbers[outer].max(initial=0)))
    return numbers

"""Labelling: a block of masks to local labels, the same whenever it is done. Reads pixels, writes nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_batch.instances.labels import Classes, Labels, compact, instances
from unet_batch.products.objects.plan import ObjectsPlan
from unet_batch.store.layer import with_channels
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import LABELS
from unet_batch.tiling import Box


@dataclass(frozen=True, slots=True)
class Plane:
    """Labels 1 to ``count`` of one set of classes that do not overlap, and numbers of classes from 1 on."""

    labels: Labels
    classes: Classes
    count: int


@dataclass(frozen=True, slots=True)
class Labelled:
    """A block's planes over what it sees; its ``own`` pixels come first on each axis, outer axes left out."""

    planes: tuple[Plane, ...]
    own: tuple[int, ...]

    @property
    def count(self) -> int:
        """Labels in all planes."""
        return sum(plane.count for plane in self.planes)

    @property
    def core(self) -> tuple[slice, ...]:
        """Where the block's own pixels are in a plane."""
        return tuple(map(slice, self.own))

    @property
    def offsets(self) -> list[int]:
        """What makes the labels of each plane differ from those of the planes before."""
        return [sum(plane.count for plane in self.planes[:at]) for at in range(len(self.planes))]

    def numbered(self) -> Labels:
        """(P, *seen) labels, 1 to ``count``."""
        pairs = zip(self.planes, self.offsets, strict=True)
        return np.stack([p.labels + offset * (p.labels > 0) if offset else p.labels for p, offset in pairs])


def label(masks: Masks, plan: ObjectsPlan, own: Box) -> Labelled | None:
    """The labels of the block ``own``; None where nothing was ever written.

    Raises:
        DamageError: stored data that cannot be decoded.
    """
    read, seen = plan.read(own), plan.seen(own)
    if not _has_data(masks, read):
        return None
    inside = seen.relative_to(read.start).slices[-plan.dims :]
    planes = []
    for classes, border in _planes(masks, plan, read):
        labels, grown = instances(classes, border, connectivity=plan.connectivity, reach=plan.reach)
        if border is not None:
            labels, grown = compact(labels[inside]), grown[inside]
        planes.append(Plane(labels, grown, int(labels.max(initial=0))))
    return Labelled(tuple(planes), own.shape[-plan.dims :])


def _planes(masks: Masks, plan: ObjectsPlan, box: Box) -> list[tuple[Classes, NDArray[np.bool_] | None]]:
    """Numbers of object classes from 1 on, and border pixels, of each plane."""
    pixels_C = masks.read(box)
    pixels_C = pixels_C.reshape(len(pixels_C), *box.shape[-plan.dims :])
    if not plan.multilabel:
        pixels = pixels_C[0]
        number = np.zeros(np.iinfo(pixels.dtype).max + 1, np.uint16)
        number[list(plan.classes)] = np.arange(1, len(plan.classes) + 1)
        return [(number[pixels], None if plan.border is None else pixels == plan.border)]
    border = None if plan.border is None else pixels_C[plan.border] == 1
    inside = [pixels_C[c] == 1 if border is None else (pixels_C[c] == 1) & ~border for c in plan.classes]
    return [(one * np.uint16(k), border) for k, one in enumerate(inside, start=1)]


def _has_data(masks: Masks, box: Box) -> bool:
    layer = masks.layers[LABELS]
    return layer.levels[0].has_data(with_channels(box, layer.layout.axes, 0, layer.layout.channels))

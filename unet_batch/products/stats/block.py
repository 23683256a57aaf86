"""What a worker does with a block: count its pixels by zone, reference and class. Writes no pixels."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.engine.parts import Parts
from unet_batch.engine.stopwatch import Stopwatch
from unet_batch.products.evaluate import open_truth, require_classes
from unet_batch.products.scale import Scale
from unet_batch.products.stats.plan import StatsPlan
from unet_batch.products.stats.zones import Inside, Zones, read_zones
from unet_batch.schedule.events import Event
from unet_batch.store.image import Image
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box


@dataclass(frozen=True, slots=True)
class CountWork:
    """Counts a block into ``parts``: ``zones`` (Z,), ``counts`` and ``sizes`` (Z, planes, *matrix).

    Attributes:
        plan: what is counted.
        masks: path of the masks.
        reference: path of the true labels.
        zones: path of the polygons; None is one zone that covers all.
        parts: folder of the counts.
    """

    plan: StatsPlan
    masks: str
    reference: str | None
    zones: str | None
    parts: str

    def __call__(self, number: int) -> Event:
        """Count block ``number``; skipped where no zone reaches."""
        stopwatch, box, tools = Stopwatch(), self.plan.grid.at(number).box, self.tools
        with stopwatch("zones"):
            insides = tools.insides(box)
        if not insides:
            return Event(number, "skipped", stages=stopwatch.seconds)
        with stopwatch("read"):
            pairs = tools.pairs(box)
        with stopwatch("count"):
            counted = [tools.count(pairs, box, inside) for inside in insides]
        with stopwatch("write"):
            counts, sizes = (np.stack(part) for part in zip(*counted, strict=True))
            zones = np.array([inside.zone for inside in insides])
            Parts(self.parts).write(number, {"zones": zones, "counts": counts, "sizes": sizes})
        return Event(number, "done", stages=stopwatch.seconds)

    @property
    def tools(self) -> "Tools":
        """What is opened once per process."""
        return _tools(self.plan, self.masks, self.reference, self.zones)


@dataclass(frozen=True, slots=True)
class Tools:
    """What one process needs for its blocks."""

    plan: StatsPlan
    masks: Masks
    truth: Image | None
    zones: Zones | None
    scale: Scale

    def insides(self, box: Box) -> list[Inside]:
        """The zones in a block; without any, all of it is one."""
        if self.zones is not None:
            return list(self.zones.in_window(*box.start[-2:], *box.shape[-2:]))
        height, width = box.shape[-2:]
        return [Inside(0, slice(0, height), slice(0, width), np.ones((height, width), np.bool_))]

    def pairs(self, box: Box) -> NDArray[np.int64]:
        """(planes, N, y, x) places in the matrix: value of the reference * columns + value found."""
        columns = self.plan.matrix[1]
        found = self.masks.read(box, self.plan.level).reshape(self.plan.planes, -1, *box.shape[-2:])
        pairs = np.where(found == int(self.masks.layout.fill), columns - 1, found).astype(np.int64)
        if self.truth is not None:
            truth = self.truth.read(box).reshape(found.shape)
            unknown = truth == self.plan.ignore
            require_classes(self.truth.path, truth[~unknown], columns - 1)
            pairs += np.where(unknown, columns - 1, truth).astype(np.int64) * columns
        return pairs

    def count(self, pairs: NDArray[np.int64], box: Box, inside: Inside) -> tuple[NDArray[Any], NDArray[Any]]:
        """(planes, *matrix) pixels of one zone, and their sizes in true units."""
        chosen = pairs[..., inside.rows, inside.columns][..., inside.pixels]
        sizes = self._sizes(box.start[-2] + np.arange(inside.rows.start, inside.rows.stop))
        cells = int(np.prod(self.plan.matrix))
        counts = np.stack([np.bincount(plane.reshape(-1), minlength=cells) for plane in chosen])
        if self.scale.ellipsoid is None:  # pixels are of one size
            weighed = counts * sizes[0]
        else:
            each = np.broadcast_to(sizes[:, None], inside.pixels.shape)[inside.pixels]
            weights = np.broadcast_to(each, chosen.shape[1:]).reshape(-1)
            weighed = np.stack([np.bincount(plane.reshape(-1), weights, cells) for plane in chosen])
        shape = (self.plan.planes, *self.plan.matrix)
        return counts.reshape(shape), weighed.reshape(shape)

    def _sizes(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Size of a pixel in each of some rows of the level."""
        factor, dims = 2**self.plan.level, self.masks.layout.dims
        return self.scale.measures((rows + 0.5) * factor - 0.5, dims) * float(factor) ** dims


@lru_cache(maxsize=2)
def _tools(plan: StatsPlan, path: str, reference: str | None, zones: str | None) -> Tools:
    masks, polygons = Masks.open(path), None
    if zones is not None:
        polygons = read_zones(zones, plan.layer, plan.zone, masks.georef, 2.0**plan.level)
    truth = None if reference is None else open_truth(masks, reference)
    return Tools(plan, masks, truth, polygons, Scale.of(masks))

"""What workers do with a block: find its fragments; once all are known, write its object numbers."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from unet_batch.engine.parts import Parts
from unet_batch.engine.stopwatch import Stopwatch
from unet_batch.formats.image import open_image
from unet_batch.products.objects.fragments import Fragments, Place, crossings, joined, measure
from unet_batch.products.objects.labelling import Labelled, label
from unet_batch.products.objects.plan import ObjectsPlan
from unet_batch.products.objects.unite import encode
from unet_batch.schedule.events import Event
from unet_batch.store.image import Image
from unet_batch.store.level import View
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import LABELS
from unet_batch.tiling import Box


@dataclass(frozen=True, slots=True)
class FindWork:
    """First pass: the fragments, faces and touches of a block, kept in ``parts``. Writes no pixels.

    Attributes:
        plan: what an object is.
        masks: path of the masks.
        image: path of the image whose intensities are summed.
        level: its level that has the pixels of the masks.
        view: how it is opened.
        parts: folder of what is found.
    """

    plan: ObjectsPlan
    masks: str
    image: str | None
    level: int
    view: View
    parts: str

    def __call__(self, number: int) -> Event:
        """Find what block ``number`` has; skipped where that is nothing."""
        stopwatch, own = Stopwatch(), self.plan.grid.at(number).box
        with stopwatch("label"):
            found = label(_masks(self.masks, self.plan.masks), self.plan, own)
        if found is None or not found.count:
            return Event(number, "skipped", stages=stopwatch.seconds)
        with stopwatch("read"):
            light = self._light(own)
        with stopwatch("measure"):
            fragments, touches = self._measured(found, own, light)
        with stopwatch("write"):
            stored = encode(found.numbered(), found.own)
            Parts(self.parts).write(number, {**fragments, "touches": touches, **stored})
        return Event(number, "done", counts=(found.count,), stages=stopwatch.seconds)

    def _light(self, own: Box) -> NDArray[np.generic] | None:
        if self.image is None:
            return None
        image = _image(self.image, self.plan.image or "", self.level, self.view)
        return image.read(own).reshape(image.channels, *own.shape[-self.plan.dims :])

    def _measured(
        self, found: Labelled, own: Box, light: NDArray[np.generic] | None
    ) -> tuple[Fragments, NDArray[np.int64]]:
        place = Place(own.start, self.plan.shape)
        parts, touches = [], [np.zeros((0, 4), np.int64)]
        for plane, offset in zip(found.planes, found.offsets, strict=True):
            core = found.core
            part = measure(plane.labels[core], plane.classes[core], plane.count, place, light)
            if self.plan.dims == 2:
                part["crossings"], met = crossings(plane.labels, found.own, own.start[-2:], plane.count)
                touches.append(np.add(met, (offset, offset, 0, 0)))
            parts.append(part)
        return joined(parts), np.concatenate(touches)


@dataclass(frozen=True, slots=True)
class WriteWork:
    """Second pass: the object numbers of a block, in place of its local labels, and its levels.

    Attributes:
        plan: what an object is.
        masks: path of the masks.
        objects: path of the store of object numbers.
        numbers: folder of the number of each local label, by block.
    """

    plan: ObjectsPlan
    masks: str
    objects: str
    numbers: str

    def __call__(self, number: int) -> Event:
        """Write block ``number``."""
        stopwatch, own = Stopwatch(), self.plan.grid.at(number).box
        with stopwatch("label"):
            found = label(_masks(self.masks, self.plan.masks), self.plan, own)
        assert found is not None, "only blocks with fragments are asked for"
        ids = Parts(self.numbers).read(number)["ids"]
        out = _objects(self.objects, self.plan.masks)
        with stopwatch("halve"):
            pixels = ids[found.planes[0].labels[found.core]].reshape(1, *own.shape)
            levels = out.layers[LABELS].halved(pixels, out.layout.halve(LABELS))
        with stopwatch("write"):
            checksum = out.write_block(own, {LABELS: levels})
        counted = int(np.count_nonzero(pixels))
        return Event(number, "done", checksum=checksum, counts=(counted,), stages=stopwatch.seconds)


# Opened once per process; the identity keeps a store apart from another that was at its path before.


@lru_cache(maxsize=2)
def _masks(path: str, identity: str) -> Masks:
    del identity
    return Masks.open(path)


@lru_cache(maxsize=2)
def _objects(path: str, identity: str) -> Masks:
    del identity
    return Masks.open(path, writable=True)


@lru_cache(maxsize=2)
def _image(path: str, identity: str, level: int, view: View) -> Image:
    del identity
    return open_image(path, view, level)

"""What a worker does with a block of a mosaic: find its scenes, read them, merge, write."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.engine.latest import Latest
from unet_batch.errors import MissingError
from unet_batch.ingestion.layout import COUNT
from unet_batch.ingestion.mosaic.index import SceneIndex
from unet_batch.ingestion.mosaic.plan import MosaicPlan
from unet_batch.ingestion.mosaic.reading import SceneDamage, reader_of
from unet_batch.ingestion.mosaic.rules import merge_of, rim_distance
from unet_batch.ingestion.mosaic.scene import Scene
from unet_batch.schedule.events import Event
from unet_batch.store.image_writer import ImageWriter
from unet_batch.tiling import BlockGrid, Box, round_down

# Pixels of scenes and sums that a block holds at once, beside the block itself.
STRIP_BYTES = 192 * 2**20
# Strips begin where tiles of files and GDAL's warped pieces do.
STRIP_ROWS = 512


@dataclass(frozen=True, slots=True)
class MosaicWork:
    """Makes a block of the mosaic that is begun at ``store``. Small: workers read the plan there, once."""

    store: str

    def __call__(self, number: int) -> Event:
        """Block ``number`` from its scenes to the store."""
        return _tools_of(self.store).process(number)


class _Tools:
    """What one process needs for its blocks, opened once and shared by its threads."""

    def __init__(self, store: str) -> None:
        plan = MosaicPlan.read_from(store)
        if plan is None:
            raise MissingError(f"{store}: no mosaic is begun there; check that workers see the same files")
        self.plan, self.grid = plan, plan.grid
        self.index = SceneIndex(plan)
        self.reader = reader_of(plan)
        self.image = ImageWriter.open(store, plan.image_layout)
        self.count = ImageWriter.open(f"{store}/{COUNT}", plan.count_layout) if plan.count else None

    def process(self, number: int) -> Event:
        """Read, merge and write one block; scenes that cannot be read are left out where this is asked."""
        box, damaged = self.grid.at(number).box, dict[str, str]()
        began = time.perf_counter()
        while True:
            scenes = [scene for scene in self.index.touching(box) if scene.path not in damaged]
            try:
                pixels, count = self._merged(scenes, box)
                break
            except SceneDamage as error:
                if self.plan.merge.on_damage == "quarantine":
                    raise
                damaged[error.scene] = str(error)
        read = time.perf_counter()
        note = "; ".join(damaged.values())
        if not count.any():
            return Event(number, "skipped", stages={"read": read - began}, error=note)
        crc = self.image.write_block(box, pixels)
        if self.count is not None:
            counted = count[np.newaxis].astype(self.plan.count_layout.pyramid.dtype)
            crc ^= self.count.write_block(box, counted)
        stages = {"read": read - began, "write": time.perf_counter() - read}
        seen = int(np.count_nonzero(count))
        return Event(
            number,
            "done",
            checksum=crc,
            counts=(seen,),
            stages=stages,
            needed_bytes=pixels.nbytes,
            error=note,
        )

    def _merged(self, scenes: list[Scene], box: Box) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """(C, *box) pixels, and how many scenes have each: (*box)."""
        plan = self.plan
        pixels = np.full((len(plan.bands), *box.shape), plan.image_layout.pyramid.fill, plan.dtype)
        count = np.zeros(box.shape, np.int64)
        for strip in _strips(box, _rows(plan, box, len(scenes))):
            inside = strip.relative_to(box.start).slices
            self._merge_strip(scenes, strip, pixels[(slice(None), *inside)], count[inside])
        return pixels, count

    def _merge_strip(
        self, scenes: list[Scene], strip: Box, pixels: NDArray[Any], count: NDArray[np.int64]
    ) -> None:
        part = self.plan.merge
        merge = merge_of(part.rule, pixels, part.quality, part.prefer)
        for scene in scenes:
            region = _on_scene(scene, strip)
            if region.size:
                at = region.relative_to(strip.start).slices
                own, valid, weight = self._read(scene, region)
                merge.add((slice(None), *at), own, valid, weight)
                count[at] += valid.any(axis=0)
        merged, filled = merge.result()
        np.copyto(pixels, merged, where=filled)

    def _read(self, scene: Scene, region: Box) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[Any]]:
        """Pixels, which of them are data, and the weight of each of the last two axes' pixels."""
        if self.plan.merge.rule != "feather":
            return *self.reader.read(scene, region), np.ones((1, 1))
        reach = (0,) * (region.ndim - 2) + (self.plan.merge.feather,) * 2
        wide = _on_scene(scene, region.grow(reach, reach))
        pixels, valid = self.reader.read(scene, wide)
        has = valid.reshape(-1, *wide.shape[-2:]).any(axis=0)
        ends = _ends(scene, wide, self.plan.shape)
        distance = rim_distance(np.pad(has, ends))
        distance = distance[tuple(slice(a, a + n) for (a, _), n in zip(ends, has.shape, strict=True))]
        inside = region.relative_to(wide.start).slices
        everywhere = (slice(None), *inside)
        weight = np.minimum(distance[inside[-2:]], self.plan.merge.feather)
        return pixels[everywhere], valid[everywhere], weight


def _strips(box: Box, rows: int) -> Iterator[Box]:
    """The box cut across its last axis but one, at multiples of ``rows`` from the mosaic's origin."""
    return BlockGrid(box.stop, (*box.stop[:-2], rows, box.stop[-1])).pieces(box)


def _rows(plan: MosaicPlan, box: Box, scenes: int) -> int:
    """Rows of a strip for which scenes, sums and masks fit STRIP_BYTES."""
    held = 3 * np.dtype(plan.dtype).itemsize + 2 + 24
    if plan.merge.rule == "median":
        held += 24 * scenes
    rows = STRIP_BYTES // (held * len(plan.bands) * prod(box.shape[:-2]) * box.shape[-1])
    return max(1, round_down(rows, STRIP_ROWS) or rows)


def _on_scene(scene: Scene, box: Box) -> Box:
    """The part of ``box`` whose last two axes lie on the scene."""
    outer = box.ndim - 2
    return box.intersect(Box(box.start[:outer] + scene.box.start, box.stop[:outer] + scene.box.stop))


def _ends(scene: Scene, wide: Box, shape: tuple[int, ...]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pixels of nothing to put around ``wide`` on the sides where the scene itself ends.

    Where a warped scene is cut off by the mosaic's own edge it goes on.
    """
    low, high = wide.start[-2:], wide.stop[-2:]
    at_low = [a == b and (scene.copied or a > 0) for a, b in zip(low, scene.box.start, strict=True)]
    at_high = [
        a == b and (scene.copied or a < n) for a, b, n in zip(high, scene.box.stop, shape[-2:], strict=True)
    ]
    return (int(at_low[0]), int(at_high[0])), (int(at_low[1]), int(at_high[1]))


_tools_of = Latest(_Tools)

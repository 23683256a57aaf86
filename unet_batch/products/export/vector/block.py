"""One block's polygons: traced, those that end in it encoded, and the fragments of the others kept."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unet_batch.extras import needed
from unet_batch.products.export.measure import Measure
from unet_batch.products.export.vector.features import Facts, Features, no_features, simplified
from unet_batch.products.export.vector.fragments import Fragments, Frame, cut, no_fragments
from unet_batch.products.export.vector.rings import Ints, Rings
from unet_batch.products.export.vector.sink import Sink
from unet_batch.products.export.vector.trace import OTHER, OUTSIDE, Regions, Selection, trace
from unet_batch.products.export.view import View
from unet_batch.schedule.events import Event
from unet_batch.store.io_errors import written_whole
from unet_batch.tiling import BlockGrid, Box


@dataclass(frozen=True, slots=True)
class Tracing:
    """How blocks are traced.

    Args:
        width: of the image.
        connectivity: 4, or 8 for regions that touch by a corner to be one feature.
        tolerance: of the simplification, in pixels; 0 keeps every corner.
    """

    width: int
    connectivity: int = 4
    tolerance: float = 0.0

    def __call__(self, regions: Regions, rows: NDArray[np.float64]) -> tuple[Features, Fragments]:
        """Finished features and fragments, in coordinates of the image; ``rows``: the weight above each row.

        ``regions`` were read with ``everything`` where there is a tolerance.
        """
        if not regions.count:
            return no_features(), no_fragments(regions.labels.shape)
        rings = trace(regions.labels, regions.classes)
        facts = _facts(regions, rings, rows)
        if self.tolerance:
            rings = simplified(rings, self.tolerance)
        wanted = facts.classes != OTHER
        feature = self._features(regions)
        unfinished = np.isin(feature, feature[_unfinished(regions, self.connectivity)]) & wanted
        frame = Frame(regions.classes, (regions.box.start[0], regions.box.start[1]), self.width)
        finished = _of(rings, wanted & ~unfinished)
        whole = _features(frame.shifted(finished), facts, feature, wanted & ~unfinished)
        return whole, _fragments(_of(rings, unfinished), facts, feature, unfinished, regions, frame)

    def _features(self, regions: Regions) -> Ints:
        """(count,) the feature that each region belongs to, counted from 0 in this block."""
        if self.connectivity == 4:
            return np.arange(regions.count)
        with needed("products", "the export of polygons"):
            import cc3d  # noqa: PLC0415 - an extra

        classes = np.ascontiguousarray(regions.classes[1:-1, 1:-1]) - OUTSIDE
        wide = cc3d.connected_components(classes, connectivity=8, out_dtype=np.uint32)
        found = np.zeros(regions.count + 1, np.int64)
        found[regions.labels] = wide
        return found[1:]


def _facts(regions: Regions, rings: Rings, rows: NDArray[np.float64]) -> Facts:
    weight = np.bincount(rings.owner, rings.weighted_areas(rows), regions.count)
    classes = regions.class_of().astype(np.int64)
    return Facts(classes, weight.astype(np.float64), *regions.confidence_sums())


def _unfinished(regions: Regions, connectivity: int) -> NDArray[np.bool_]:
    """(count,) which regions have a neighbour of their class beyond the block's edge."""
    classes = regions.classes
    found = np.zeros(regions.count + 1, np.bool_)
    for turn in range(4):
        own, beyond = np.rot90(classes, turn)[1, 1:-1], np.rot90(classes, turn)[0]
        same = own == beyond[1:-1]
        if connectivity == 8:
            same |= (own == beyond[:-2]) | (own == beyond[2:])
        found[np.rot90(regions.labels, turn)[0][same]] = True
    return found[1:]


def _of(rings: Rings, chosen: NDArray[np.bool_]) -> Rings:
    """The rings of the regions marked, numbered anew."""
    number = np.cumsum(chosen) - 1
    taken = rings.take(np.flatnonzero(chosen[rings.owner]))
    return Rings(taken.xy, taken.offsets, number[taken.owner])


def _features(rings: Rings, facts: Facts, feature: Ints, chosen: NDArray[np.bool_]) -> Features:
    names, number = np.unique(feature[chosen], return_inverse=True)
    return Features.of(rings, number, facts.take(chosen).summed(number, len(names)))


def _fragments(
    rings: Rings, facts: Facts, feature: Ints, chosen: NDArray[np.bool_], regions: Regions, frame: Frame
) -> Fragments:
    number = np.full(len(chosen) + 1, -1, np.int64)
    number[1:][chosen] = np.arange(np.count_nonzero(chosen))
    inside = number[regions.labels]
    sides = {"top": inside[0], "bottom": inside[-1], "left": inside[:, 0], "right": inside[:, -1]}
    names, local = np.unique(feature[chosen], return_inverse=True)
    del names
    closed, chains = cut(rings, frame)
    return Fragments(facts.take(chosen), local, closed, chains, {k: v.copy() for k, v in sides.items()})


FOLDER = "blocks"


@dataclass(frozen=True, slots=True)
class PolygonsWork:
    """Traces a block of one channel. ``grid`` has the axes selection, y, x."""

    view: View
    grid: BlockGrid
    selections: tuple[Selection, ...]
    tracing: Tracing
    measure: Measure
    sink: Sink
    folder: Path

    def __call__(self, number: int) -> Event:
        """Do block ``number``."""
        times = [time.perf_counter()]
        block = self.grid.at(number)
        box = Box(block.box.start[1:], block.box.stop[1:])
        selection = self.selections[block.index[0]]
        regions = Regions.read(self.view, selection, box, everything=self.tracing.tolerance > 0)
        times.append(time.perf_counter())
        features, fragments = self.tracing(regions, self.measure.rows(box.start[0], box.stop[0]))
        times.append(time.perf_counter())
        with written_whole(features_path(self.folder, number)) as file:
            file.write(self.sink.encode(features))
        fragments.save(fragments_path(self.folder, number))
        times.append(time.perf_counter())
        stages = zip(("read", "trace", "write"), times[:-1], times[1:], strict=True)
        return Event(number, "done", stages={name: end - begin for name, begin, end in stages})

    def files(self, number: int) -> list[Path]:
        """What block ``number`` leaves."""
        return [features_path(self.folder, number), fragments_path(self.folder, number)]


def features_path(folder: Path, number: int) -> Path:
    """Where the finished features of a block are."""
    return folder / FOLDER / f"{number}.features"


def fragments_path(folder: Path, number: int) -> Path:
    """Where the fragments of a block are."""
    return folder / FOLDER / f"{number}.fragments"

"""Work on one block of polygons: traced, the finished ones encoded, the fragments kept."""

import time
from dataclasses import dataclass
from pathlib import Path

from unet_batch.products.export.measure import Measure
from unet_batch.products.export.vector.block import Tracing
from unet_batch.products.export.vector.regions import Regions, Selection
from unet_batch.products.export.vector.sink import Sink
from unet_batch.products.export.view import View
from unet_batch.products.export.whole import written_whole
from unet_batch.schedule.events import Event
from unet_batch.tiling import BlockGrid, Box

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


def features_path(folder: Path, number: int) -> Path:
    """Where the finished features of a block are."""
    return folder / FOLDER / f"{number}.features"


def fragments_path(folder: Path, number: int) -> Path:
    """Where the fragments of a block are."""
    return folder / FOLDER / f"{number}.fragments"

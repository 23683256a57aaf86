"""PaintJob: labels that follow from something else (annotations, colours) are written block by block."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.job import Ask
from unet_batch.engine.passes import BlockPass
from unet_batch.engine.progress import Reporter
from unet_batch.engine.stopwatch import Stopwatch
from unet_batch.engine.target import Facts
from unet_batch.engine.worker_pool import Workers
from unet_batch.ingestion.plan import IngestPlan, make_plan, threads
from unet_batch.ingestion.store_folder import StoreFolder
from unet_batch.schedule.events import Event
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import LABELS, MasksLayout
from unet_batch.tiling import BlockGrid, Box


class Labelling(Protocol):
    """Labels by box, and how they are laid out; for threads of one process."""

    @property
    def layout(self) -> MasksLayout:
        """Of the store that is written."""
        ...

    def __call__(self, box: Box) -> NDArray[Any]:
        """(1, *box.shape)."""
        ...


@dataclass(frozen=True, slots=True)
class Painted:
    """Pixels of each class, then those without a label; not finished where the run was ended early."""

    counts: tuple[int, ...]
    finished: bool


@dataclass(frozen=True, slots=True)
class PaintJob:
    """Labels painted block by block, new or resumed.

    Attributes:
        source: the file that they follow from.
        target: where they go.
        labelling: what paints them.
        config: the settings.
        attributes: what the store keeps of where they come from.
        image: identity of the image whose grid they have, where there is one.
    """

    source: Path
    target: StoreFolder
    labelling: Labelling
    config: ExecutionConfig
    attributes: Mapping[str, Any]
    image: str | None = None
    retry_failed: bool = True

    def plan(self, stored: Mapping[str, Any] | None, ask: Ask) -> IngestPlan:
        """The identities of the file and the image, the settings, and the layout of the labels."""
        del stored, ask
        return make_plan(self.source, self.config, self.labelling.layout, self.image)

    def create(self, plan: IngestPlan) -> None:
        """The labels, as they will be known at their place."""
        del plan
        layout, place = self.labelling.layout, self.target.out
        Masks.create(self.target.content, layout, self.attributes, locked=True, place=place)

    def workers(self, pixels: int) -> Workers:
        """Threads of this process, which share what paints."""
        del pixels
        return threads(self.config)

    def passes(self, plan: IngestPlan) -> list[BlockPass]:
        """One pass, whose ledger counts the pixels of each class, then those without."""
        del plan
        masks = Masks.open(self.target.content, writable=True)
        blocks = BlockGrid(masks.layout.shape, masks.layout.block)
        work, classes = PaintWork(self.labelling, masks, blocks), len(masks.layout.names) + 1
        return [
            BlockPass(
                self.target.folder,
                blocks,
                lambda _: work,
                classes,
                order="rows",
                prepare=masks.clean_scratch,
                lost=masks.lost_blocks,
            )
        ]

    def finish(self, plan: IngestPlan, reporter: Reporter) -> Facts:
        """Coarse levels."""
        del plan, reporter
        Masks.open(self.target.content, writable=True).finish()
        return {"counts": list(Ledger.open(self.target.folder).totals().class_counts)}

    def result(self, facts: Facts | None) -> Painted:
        """What was painted."""
        nothing = [0] * (len(self.labelling.layout.names) + 1)
        return Painted(tuple(nothing if facts is None else facts["counts"]), facts is not None)


@dataclass(frozen=True, slots=True)
class PaintWork:
    """Paints a block."""

    labelling: Labelling
    masks: Masks
    blocks: BlockGrid

    def __call__(self, number: int) -> Event:
        """Paint block ``number``; its counts are the pixels of each class, then those without."""
        stopwatch, box, layout = Stopwatch(), self.blocks.box(number), self.masks.layout
        with stopwatch("paint"):
            labels = self.labelling(box)
            counts = _counts(labels, layout)
        with stopwatch("write"):
            levels = self.masks.layers[LABELS].halved(labels, layout.halve(LABELS))
            checksum = self.masks.write_block(box, {LABELS: levels})
        return Event(number, "done", checksum=checksum, counts=counts, stages=stopwatch.seconds)


def _counts(labels: NDArray[Any], layout: MasksLayout) -> tuple[int, ...]:
    """Pixels of each class, then those without; of instances those of any, then those of none."""
    if layout.kind == "instances":
        held = int(np.count_nonzero(labels))
        return held, labels.size - held
    found = np.bincount(labels.reshape(-1), minlength=int(layout.fill) + 1)
    return *found[: len(layout.names)].tolist(), int(found[int(layout.fill)])

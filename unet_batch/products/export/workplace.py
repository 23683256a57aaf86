"""Workplace: the folder beside an output where its pieces wait until all are there.

It belongs to one request. An export that was killed goes on in it.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from unet_batch.engine.progress import Hooks, Progress
from unet_batch.engine.run import Run, open_blocks
from unet_batch.errors import DamageError, MissingError
from unet_batch.products.unfinished import begin
from unet_batch.schedule.events import Event, Executor, Work
from unet_batch.store.io_errors import writing
from unet_batch.store.journal import Status
from unet_batch.store.ledger import Ledger
from unet_batch.tiling import BlockGrid


@dataclass(frozen=True, slots=True)
class Pass:
    """Blocks that can be done in any order, after those of the passes before. ``name`` is its folder."""

    name: str
    grid: BlockGrid
    work: Work


@dataclass(frozen=True, slots=True)
class Workplace:
    """The folder, open for one request."""

    folder: Path

    @classmethod
    def open(cls, out: Path, request: Mapping[str, Any], *, overwrite: bool) -> "Workplace":
        """The folder beside ``out``, which the caller holds; another request's is refused or begun anew."""
        return cls(begin(out, request, overwrite=overwrite)[0])

    def run(self, passes: Sequence[Pass], execute: Executor, hooks: Hooks) -> bool:
        """Do what is left of all passes, one after the other; False where the caller stopped it.

        Raises:
            DamageError: blocks that failed; the others are kept for the next run.
        """
        left = [self._left(one) for one in passes]
        before = Progress(0, sum(left), 0, 0.0)
        for one, blocks in zip(passes, left, strict=True):
            counter = _Counter(hooks, before)
            if not self._done(one, execute, Hooks(counter, hooks.stop)):
                return False
            before = replace(counter.last, blocks_done=before.blocks_done + blocks)
        return True

    def discard(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _left(self, one: Pass) -> int:
        """Blocks of a pass that are not done yet."""
        try:
            ledger = Ledger.open(self.folder / one.name)
        except MissingError:
            return len(one.grid)
        return int(open_blocks(one.grid, ledger, retry_failed=True).size)

    def _done(self, one: Pass, execute: Executor, hooks: Hooks) -> bool:
        folder = self.folder / one.name
        with writing(str(folder)):
            folder.mkdir(exist_ok=True)
        with _ledger(folder, one.grid) as ledger:
            todo = open_blocks(one.grid, ledger, retry_failed=True)
            if todo.size:
                Run(str(folder), hooks).blocks(one.grid, one.work, ledger, execute, todo)
            counts = ledger.totals().blocks
        if counts[Status.FAILED]:
            raise DamageError(
                f"{counts[Status.FAILED]} blocks could not be exported, the last one: {_failure(folder)}; "
                "mend the cause (`unet-batch verify STORE --repair` where it is damage) and run this again"
            )
        return not counts[Status.PENDING]


class _Counter:
    """Passes on the progress of one pass, with what the passes before it did added."""

    def __init__(self, hooks: Hooks, before: Progress) -> None:
        self.hooks, self.before, self.last = hooks, before, before

    def __call__(self, event: Event | None, progress: Progress) -> None:
        """What a run tells."""
        before = self.before
        self.last = Progress(
            before.blocks_done + progress.blocks_done,
            before.blocks_total,
            before.pixels + progress.pixels,
            before.seconds + progress.seconds,
            progress.message,
        )
        self.hooks.observe(event, self.last)


def _ledger(folder: Path, grid: BlockGrid) -> Ledger:
    try:
        return Ledger.open(folder, writable=True)
    except MissingError:
        return Ledger.create(folder, grid.counts, classes=1)


def _failure(folder: Path) -> str:
    try:
        lines = (folder / "ledger" / "failures.log").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    return lines[-1] if lines else "unknown"

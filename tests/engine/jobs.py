"""A small block job, which the tests of the engine run: squares of numbers, block by block, in one file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from unet_batch.config import Config
from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.partial_folder import PartialFolder
from unet_batch.engine.parts import Parts
from unet_batch.engine.passes import BlockPass
from unet_batch.engine.progress import Hooks
from unet_batch.engine.worker_pool import Workers
from unet_batch.schedule.events import Event
from unet_batch.tiling import BlockGrid


class SquaresPlan(Config):
    """What is computed."""

    numbers: int = 36
    power: int = 2

    @property
    def grid(self) -> BlockGrid:
        """Blocks of six, in two rows."""
        return BlockGrid((2, self.numbers // 2), (1, 6))


@dataclass(frozen=True)
class SquaresWork:
    """Leaves the squares of a block in ``parts``, and a line in ``log`` for every try."""

    plan: SquaresPlan
    parts: str
    log: Path
    failing: frozenset[int] = frozenset()

    def __call__(self, number: int) -> Event:
        with self.log.open("a") as log:
            log.write(f"{number}\n")
        if number in self.failing:
            raise RuntimeError("poison")
        box = self.plan.grid.at(number).box
        numbers = np.arange(self.plan.numbers).reshape(2, -1)[box.slices]
        Parts(self.parts).write(number, {"found": numbers**self.plan.power})
        return Event(number, "done", checksum=number, counts=(box.size,))


@dataclass
class SquaresJob:
    """Squares of numbers as one file, in two passes where ``twice``; block 2 is known to be empty."""

    out: Path
    power: int = 2
    overwrite: bool = False
    workers_wanted: Workers = field(default_factory=lambda: Workers(ExecutionConfig()))
    failing: frozenset[int] = frozenset()
    twice: bool = False
    retry_failed: bool = False
    config: ExecutionConfig = field(default_factory=ExecutionConfig)

    @property
    def target(self) -> PartialFolder:
        return PartialFolder(self.out, self.overwrite, ".npy")

    @property
    def log(self) -> Path:
        return self.out.with_suffix(".log")

    def plan(self, stored: Mapping[str, Any] | None, ask: Any) -> SquaresPlan:
        del stored, ask
        return SquaresPlan(power=self.power)

    def create(self, plan: SquaresPlan) -> None:
        self.target.content.write_text(str(plan.power))

    def workers(self, pixels: int) -> Workers:
        assert pixels > 0
        return self.workers_wanted

    def passes(self, plan: SquaresPlan) -> list[BlockPass]:
        folder = self.target.folder
        skipped = np.zeros(plan.grid.counts, np.bool_)
        skipped[0, 2] = True

        def work(_blocks: int) -> SquaresWork:
            return SquaresWork(plan, str(folder / "found"), self.log, self.failing)

        lost = partial(Parts(str(folder / "found")).lost, plan.grid)
        first = BlockPass(folder, plan.grid, work, skipped=lambda: skipped, lost=lost)
        return [first, BlockPass(folder / "again", plan.grid, work)] if self.twice else [first]

    def finish(self, plan: SquaresPlan, reporter: Any) -> dict[str, Any]:
        count = reporter.counter("joining")
        found = np.zeros((2, plan.numbers // 2), np.int64)
        for number in range(len(plan.grid)):
            if number != 2 or self.twice:
                part = Parts(str(self.target.folder / "found")).read(number)["found"]
                found[plan.grid.at(number).box.slices] = part
            count(number + 1, len(plan.grid))
        np.save(self.target.content, found)
        return {"sum": int(found.sum())}

    def result(self, facts: dict[str, Any] | None) -> int | None:
        return None if facts is None else facts["sum"]

    def computed(self) -> list[int]:
        """Every try of a block, in turn."""
        return [int(line) for line in self.log.read_text().split()] if self.log.exists() else []


def stop_after(blocks: int) -> Hooks:
    """Hooks that end a run once so many blocks are settled."""
    seen: list[Event] = []
    return Hooks(lambda event, _: seen.append(event) if event else None, lambda: len(seen) >= blocks)


def killed_at(operation: int, folder: Path, action: Any) -> bool:
    """Do ``action`` in a child that is killed before its n-th change to files at ``folder``: whether so."""
    child = os.fork()
    if child == 0:
        _kill_at(operation, str(folder))
        try:
            action()
        finally:
            os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status)


_CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"}


def _kill_at(operation: int, folder: str) -> None:
    import signal
    import sys

    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        writes = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if (event in _CHANGES or writes) and str(arguments[0]).startswith(folder):
            count += 1
            if count == operation:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)

"""How training shows itself: a bar on stderr, JSON lines on stdout, or nothing."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from unet_batch.cli import options
from unet_batch.cli.progress import LINES_EVERY, echo_line
from unet_batch.cli.streams import clean, drawing

if TYPE_CHECKING:
    from unet_batch.training.hooks import Progress


class StepDisplay(Protocol):
    """Where a training's progress goes."""

    def show(self, progress: "Progress") -> None:
        """A step, or a message."""
        ...


class SilentSteps:
    """Nothing."""

    def show(self, progress: "Progress") -> None:
        """Show nothing."""


class StepLines:
    """One JSON object a line: messages, validations, and about one step a second."""

    def __init__(self) -> None:
        self.last = float("-inf")

    def show(self, progress: "Progress") -> None:
        """A line, unless the last one is fresh and this step is like any other."""
        if progress.message:
            echo_line("message", {"message": progress.message, "step": progress.step})
            return
        now = time.monotonic()
        ordinary = progress.step < progress.steps and not progress.scores
        if ordinary and now - self.last < LINES_EVERY:
            return
        self.last = now
        values = asdict(progress)
        del values["message"]
        echo_line("step", values)


class StepBar:
    """A bar with loss, rate, waiting and time left; scores are lines above it. In a file, only the lines."""

    def __init__(self, bar: RichProgress, task: TaskID) -> None:
        self.bar, self.task = bar, task

    def show(self, progress: "Progress") -> None:
        """Move the bar, or print a line above it."""
        if progress.message:
            self._print(progress.message)
            return
        if progress.scores:
            scores = ", ".join(f"{name} {value:.4f}" for name, value in progress.scores.items())
            self._print(f"step {progress.step}: loss {progress.loss:.4f}, {scores}")
        left = "" if progress.seconds_left is None else f"{options.duration(progress.seconds_left)} left"
        facts = (
            f"loss {progress.loss:.4f}  {progress.images_per_second:.3g} images/s  "
            f"waiting {progress.waiting:.0%}  {left}"
        )
        self.bar.update(self.task, completed=progress.step, total=progress.steps, facts=facts)

    def _print(self, line: str) -> None:
        self.bar.console.print(clean(line), highlight=False, markup=False, soft_wrap=True)


@contextmanager
def step_display(*, quiet: bool, json_lines: bool) -> Iterator[StepDisplay]:
    """The display that the options ask for, for the length of the training."""
    if quiet:
        yield SilentSteps()
    elif json_lines:
        yield StepLines()
    else:
        columns = (
            TextColumn("train"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("steps  {task.fields[facts]}"),
        )
        bar = RichProgress(*columns, console=Console(file=drawing()))
        task = bar.add_task("train", total=None, facts="")
        if bar.console.is_terminal:
            bar.start()
        try:
            yield StepBar(bar, task)
        finally:
            bar.stop()

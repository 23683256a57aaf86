"""How long work shows itself: a bar on a terminal, lines in a log, JSON lines on stdout, or nothing.

Work over blocks and trainings report differently; ``of_blocks`` and ``of_step`` turn both into a ``Mark``,
and every display shows marks.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from unet_batch.cli import options
from unet_batch.cli.streams import clean, drawing

if TYPE_CHECKING:
    from unet_batch.engine.progress import Progress as BlockProgress
    from unet_batch.schedule.events import Event
    from unet_batch.training.hooks import Progress as StepProgress

LINES_EVERY = 1.0  # seconds between JSON lines
LOG_EVERY = 30.0  # seconds between lines of text in a file


@dataclass(frozen=True, slots=True)
class Mark:
    """How far work is.

    Attributes:
        done: units of work that are done.
        total: units in all.
        unit: what they are called, in the plural.
        facts: what a person sees beside the count, such as rate and time left.
        event: kind of the JSON line.
        values: what a JSON line holds.
        note: a line of text that stays, empty for most marks; its mark is never left out.
    """

    done: int
    total: int
    unit: str
    facts: tuple[str, ...]
    event: str
    values: Mapping[str, object]
    note: str = ""

    @property
    def ordinary(self) -> bool:
        """Whether a display may leave it out for a later one."""
        return self.done < self.total and not self.note


def of_blocks(progress: "BlockProgress") -> Mark:
    """The mark of work over blocks."""
    done, total = progress.blocks_done, progress.blocks_total
    pixels, seconds = progress.pixels, progress.seconds
    rate = pixels / seconds if seconds else 0.0
    left = seconds / done * (total - done) if done else None
    facts = [f"{rate / 1e6:.3g} Mpx/s"] if rate else []
    facts += [f"{options.duration(left)} left"] if left else []
    counts = {"blocks_done": done, "blocks_total": total, "pixels": pixels}
    times = {"pixels_per_second": rate, "seconds": seconds, "seconds_left": left}
    return Mark(done, total, "blocks", tuple(facts), "progress", {**counts, **times})


def of_step(progress: "StepProgress") -> Mark:
    """The mark of a training; a validation's scores are its note."""
    facts = [f"loss {progress.loss:.4f}", f"{progress.images_per_second:.3g} images/s"]
    facts.append(f"waiting {progress.waiting:.0%}")
    if progress.seconds_left is not None:
        facts.append(f"{options.duration(progress.seconds_left)} left")
    scores = ", ".join(f"{name} {value:.4f}" for name, value in progress.scores.items())
    note = f"step {progress.step}: loss {progress.loss:.4f}, {scores}" if scores else ""
    values = {key: value for key, value in asdict(progress).items() if key != "message"}
    return Mark(progress.step, progress.steps, "steps", tuple(facts), "step", values, note)


class Display(Protocol):
    """Where progress goes."""

    def update(self, mark: Mark) -> None:
        """Show how far the work is."""
        ...

    def notify(self, message: str) -> None:
        """Show something that a person should read."""
        ...


class Silent:
    """Nothing."""

    def update(self, mark: Mark) -> None:
        """Show nothing."""

    def notify(self, message: str) -> None:
        """Show nothing."""


class Lines:
    """One JSON object a line, about one a second, for batch logs."""

    def __init__(self) -> None:
        self.last = float("-inf")

    def update(self, mark: Mark) -> None:
        """A line, unless the last one is fresh and this mark is like any other."""
        if mark.ordinary and time.monotonic() - self.last < LINES_EVERY:
            return
        self.last = time.monotonic()
        echo_line(mark.event, mark.values)

    def notify(self, message: str) -> None:
        """A line with the message."""
        echo_line("message", {"message": message})


def echo_line(event: str, values: Mapping[str, object]) -> None:
    """One line of JSON on stdout, at once."""
    click.echo(json.dumps({"event": event, "time": time.time(), **values}, default=str))


class Log:
    """Lines of text for a file: messages, and now and then how far it is.

    Before the first mark, or where work is short, nothing is printed, so that an error is the only line.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.held: list[str] = []
        self.begun = False
        self.last = 0.0

    def update(self, mark: Mark) -> None:
        """A line at the end, and where the one before is not fresh."""
        now = time.monotonic()
        self.last = self.last if self.begun else now
        self.begun = True
        self.release()
        if mark.note:
            click.echo(mark.note, err=True)
        elif not mark.ordinary or now - self.last >= LOG_EVERY:
            self.last = now
            count = f"{self.what} {mark.done:,}/{mark.total:,} {mark.unit}"
            click.echo(", ".join((count, *mark.facts)), err=True)

    def notify(self, message: str) -> None:
        """A line with the message, once there is something to add it to."""
        self.held.append(message)
        if self.begun:
            self.release()

    def release(self) -> None:
        """Print the messages from before the first mark."""
        for message in self.held:
            click.echo(message, err=True)
        self.held.clear()


class Bar:
    """A bar with count, rate and time left, on a terminal.

    No bar stays of work that ends in an error; before its first mark, the error is the only line.
    """

    def __init__(self, progress: Progress, what: str) -> None:
        self.progress, self.what = progress, what
        self.task = progress.add_task(what, total=None, facts="")
        self.held: list[str] = []
        self.begun = False

    def update(self, mark: Mark) -> None:
        """Move the bar."""
        self.begun = True
        self.progress.start()
        self.held += [mark.note] if mark.note else []
        self.release()
        facts = "  ".join((mark.unit, *mark.facts))
        self.progress.update(
            self.task, description=self.what, completed=mark.done, total=mark.total, facts=facts
        )

    def notify(self, message: str) -> None:
        """A line above the bar; until the bar moves, its caption."""
        self.held.append(message)
        if self.begun:
            self.release()
        else:
            self.progress.update(self.task, description=clean(message))

    def release(self) -> None:
        """Print the messages from before the bar moved."""
        for message in self.held:
            self.progress.console.print(clean(message), highlight=False, markup=False, soft_wrap=True)
        self.held.clear()


@contextmanager
def display(what: str, *, quiet: bool, json_lines: bool) -> Iterator[Display]:
    """The display that the options ask for, for the length of the work."""
    if quiet:
        yield Silent()
    elif json_lines:
        yield Lines()
    elif sys.stderr is not None and sys.stderr.isatty():
        with _bar(what) as bar:
            yield bar
    else:
        log = Log(what)
        yield log
        log.release()


@contextmanager
def _bar(what: str) -> Iterator[Bar]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    facts = TextColumn("{task.fields[facts]}", markup=False)
    progress = Progress(*columns, facts, console=Console(file=drawing()))
    bar = Bar(progress, what)
    progress.start()
    finished = False
    try:
        yield bar
        bar.release()
        finished = bar.begun
    finally:
        progress.live.transient = not finished
        progress.live.stop()


def observe(shown: Display, prefix: str = "") -> "Callable[[Event | None, BlockProgress], None]":
    """What a run over blocks calls to be shown on a display; ``prefix`` goes before its messages."""

    def after(event: "Event | None", progress: "BlockProgress") -> None:
        if progress.message:
            shown.notify(f"{prefix}{progress.message}")
            return
        if event is not None and event.status == "failed":
            shown.notify(f"{prefix}block {event.number} was set aside: {event.error}")
        shown.update(of_blocks(progress))

    return after

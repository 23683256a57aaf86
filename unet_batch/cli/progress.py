"""How long work shows itself: a bar on stderr, JSON lines on stdout, or nothing."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from unet_batch.cli import options
from unet_batch.cli.streams import clean, drawing

if TYPE_CHECKING:
    from unet_batch.engine.progress import Progress as Standing
    from unet_batch.schedule.events import Event

LINES_EVERY = 1.0  # seconds between JSON lines
LOG_EVERY = 30.0  # seconds between lines of text in a file


class Display(Protocol):
    """Where progress goes."""

    def update(self, done: int, total: int, pixels: int, seconds: float) -> None:
        """Blocks done of a total, pixels done so far, seconds since the start."""
        ...

    def tell(self, message: str) -> None:
        """Something that a person should read."""
        ...


class Silent:
    """Nothing."""

    def update(self, done: int, total: int, pixels: int, seconds: float) -> None:
        """Show nothing."""

    def tell(self, message: str) -> None:
        """Show nothing."""


class Lines:
    """One JSON object a line, about one a second, for batch logs."""

    def __init__(self) -> None:
        self.last = float("-inf")

    def update(self, done: int, total: int, pixels: int, seconds: float) -> None:
        """A line, unless the last one is fresh."""
        if done < total and time.monotonic() - self.last < LINES_EVERY:
            return
        self.last = time.monotonic()
        rate = pixels / seconds if seconds else 0.0
        left = seconds / done * (total - done) if done else None
        counts = {"blocks_done": done, "blocks_total": total, "pixels": pixels}
        times = {"pixels_per_second": rate, "seconds": seconds, "seconds_left": left}
        echo_line("progress", {**counts, **times})

    def tell(self, message: str) -> None:
        """A line with the message."""
        echo_line("message", {"message": message})


def echo_line(event: str, values: Mapping[str, object]) -> None:
    """One line of JSON on stdout, at once."""
    click.echo(json.dumps({"event": event, "time": time.time(), **values}, default=str))


class Log:
    """Lines of text for a file: what was told, and now and then how far it is.

    Before the first block, or where work is short, nothing is printed, so that an error is the only line.
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self.held: list[str] = []
        self.begun = False
        self.last = 0.0

    def update(self, done: int, total: int, pixels: int, seconds: float) -> None:
        """A line at the last block, and where the one before is not fresh."""
        now = time.monotonic()
        self.last = self.last if self.begun else now
        self.begun = True
        self.release()
        if done < total and now - self.last < LOG_EVERY:
            return
        self.last = now
        rate = f", {pixels / seconds / 1e6:.3g} Mpx/s" if seconds else ""
        left = f", {options.duration(seconds / done * (total - done))} left" if 0 < done < total else ""
        click.echo(f"{self.what} {done:,}/{total:,} blocks{rate}{left}", err=True)

    def tell(self, message: str) -> None:
        """A line with the message, once there is something to add it to."""
        self.held.append(message)
        if self.begun:
            self.release()

    def release(self) -> None:
        """Print what was told before the first block."""
        for message in self.held:
            click.echo(message, err=True)
        self.held.clear()


class Bar:
    """A bar with blocks, rate and time left, on a terminal.

    No bar stays of work that ends in an error; before its first block, the error is the only line.
    """

    def __init__(self, progress: Progress, what: str) -> None:
        self.progress, self.what = progress, what
        self.task = progress.add_task(what, total=None, rate="")
        self.held: list[str] = []
        self.begun = False

    def update(self, done: int, total: int, pixels: int, seconds: float) -> None:
        """Move the bar."""
        self.begun = True
        self.progress.start()
        self.release()
        rate = f"{pixels / seconds / 1e6:.2f} Mpx/s" if pixels and seconds else ""
        self.progress.update(self.task, description=self.what, completed=done, total=total, rate=rate)

    def tell(self, message: str) -> None:
        """A line above the bar; until the bar moves, its caption."""
        self.held.append(message)
        if self.begun:
            self.release()
        else:
            self.progress.update(self.task, description=clean(message))

    def release(self) -> None:
        """Print what was told before the bar moved."""
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
    elif sys.stderr.isatty():
        with _bar(what) as bar:
            yield bar
    else:
        log = Log(what)
        yield log
        log.release()


@contextmanager
def _bar(what: str) -> Iterator[Bar]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("blocks  {task.fields[rate]} "),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    progress = Progress(*columns, console=Console(file=drawing()))
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


def observe(shown: Display) -> "Callable[[Event | None, Standing], None]":
    """What a run over blocks calls to be shown on a display."""

    def after(event: "Event | None", standing: "Standing") -> None:
        if standing.message:
            shown.tell(standing.message)
            return
        if event is not None and event.status == "failed":
            shown.tell(f"block {event.number} was set aside: {event.error}")
        shown.update(standing.blocks_done, standing.blocks_total, standing.pixels, standing.seconds)

    return after

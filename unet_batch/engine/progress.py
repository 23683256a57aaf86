"""Progress: how a caller watches a run over blocks and ends it early; the one protocol of every verb."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from unet_batch.schedule.events import Event, Stop


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        blocks_done: blocks that this run has settled (done, skipped or failed).
        blocks_total: blocks that this run has to do in all.
        pixels: pixels of the blocks computed.
        seconds: wall time of the work on blocks so far.
        message: set where something else than a block is reported; the other values then say nothing new.
    """

    blocks_done: int
    blocks_total: int
    pixels: int
    seconds: float
    message: str = ""


@dataclass(frozen=True, slots=True)
class Hooks:
    """How a caller watches and ends a run.

    Attributes:
        observe: called after every block with its event, and with None and a message in between.
        stop: asked between blocks; once it is true, blocks under way end and the rest waits for the next run.
    """

    observe: Callable[[Event | None, Progress], None] = lambda _event, _progress: None
    stop: Stop = lambda: False


class Reporter:
    """Adds up the progress of a job over its passes and reports it to the caller's hooks."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks
        self.total = 0
        self._done = self._pixels = 0
        self._seconds_before = self._seconds = 0.0

    @property
    def blocks_done(self) -> int:
        """Blocks settled so far, of all passes."""
        return self._done

    def begin_pass(self, blocks_left: int) -> None:
        """A pass begins; ``blocks_left`` are left to do in it and in the passes behind it."""
        self._seconds_before = self._seconds
        self.total = self._done + blocks_left

    def block(self, event: Event, pixels: int, seconds: float) -> None:
        """A block of ``pixels`` is settled, ``seconds`` after its pass began."""
        self._done += 1
        self._pixels += pixels if event.status == "done" else 0
        self._seconds = self._seconds_before + seconds
        self.hooks.observe(event, Progress(self._done, self.total, self._pixels, self._seconds))

    def notify(self, message: str) -> None:
        """Something that a person should read."""
        self.hooks.observe(None, Progress(self._done, self.total, self._pixels, self._seconds, message))

    def counter(self, message: str) -> Callable[[int, int], None]:
        """Say ``message``; then called with steps done and steps in all, for work that has no blocks."""
        self.notify(message)
        began = time.monotonic()

        def count(done: int, total: int) -> None:
            self.hooks.observe(None, Progress(done, total, 0, time.monotonic() - began))

        return count

"""Hooks: how a caller watches a run over blocks, and ends it early."""

from collections.abc import Callable
from dataclasses import dataclass

from unet_batch.schedule.events import Event, Stop


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands after an event. ``message`` is set where something else than a block happened."""

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
        stop: asked between blocks; once true, blocks under way end and the rest waits for the next run.
    """

    observe: Callable[[Event | None, Progress], None] = lambda _event, _progress: None
    stop: Stop = lambda: False

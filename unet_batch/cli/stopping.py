"""Stopping early: the first signal asks the run to end its blocks under way, a second ends it at once."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPED = 75  # exit code of a run that ended early; the same command goes on
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def on_signals(
    tell: Callable[[str], None], ending: str = "ending the blocks under way"
) -> Iterator[Callable[[], bool]]:
    """A question that is answered True once SIGINT, SIGTERM or SIGUSR1 has come."""
    asked = threading.Event()
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        tell(f"{signal.Signals(number).name}: {ending}; run again to go on")

    for number in SIGNALS:
        signal.signal(number, handle)
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

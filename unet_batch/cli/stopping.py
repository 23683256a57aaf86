"""Stopping early: the first signal asks the run to end its blocks under way, a second ends it at once."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP)


@contextmanager
def on_signals(
    tell: Callable[[str], None], ending: str = "ending the blocks under way"
) -> Iterator[Callable[[], bool]]:
    """A question that is answered True once one of ``SIGNALS`` has come; ``nohup`` keeps SIGHUP away."""
    asked: list[int] = []
    told: list[int] = []
    before = {number: signal.getsignal(number) for number in SIGNALS}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]

    def handle(number: int, frame: FrameType | None) -> None:
        del frame
        asked.append(number)  # no more: a signal may come in the middle of an import or of a line of output
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop() -> bool:
        if asked and not told:
            told.append(asked[0])
            tell(f"{signal.Signals(asked[0]).name}: {ending}; run again to go on")
        return bool(asked)

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

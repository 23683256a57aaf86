"""The ladder of tries that a failing block climbs, the same for every executor.

A block that fails is tried three more times: again; on a worker that it has not failed on; and with nothing
else under way. Then its event is passed on as ``failed`` and the run goes on. Where there is one worker alone
the rungs differ only in name, and their number is the same.
"""

import logging
from dataclasses import dataclass, field
from typing import Literal

from unet_batch.schedule.events import Event, Work, attempt

logger = logging.getLogger(__name__)

Rung = Literal["again", "elsewhere", "alone"]
LADDER: tuple[Rung, ...] = ("again", "elsewhere", "alone")


@dataclass(slots=True)
class Trouble:
    """A block that failed: how often, and on which workers."""

    tries: int = 0
    workers: set[str] = field(default_factory=set)


class Ladder:
    """The blocks that failed, each on its rung."""

    def __init__(self) -> None:
        self._troubles: dict[int, Trouble] = {}

    def next_try(self, event: Event) -> Rung | None:
        """How the block of a ``failed`` event is tried next; None where it is set aside."""
        trouble = self._troubles.setdefault(event.number, Trouble())
        trouble.workers.add(event.worker)
        trouble.tries += 1
        if trouble.tries > len(LADDER):
            self.forget(event.number)
            return None
        rung = LADDER[trouble.tries - 1]
        logger.warning("block %d failed, trying %s: %s", event.number, rung, event.error)
        return rung

    def avoided(self, number: int) -> set[str]:
        """The workers that block ``number`` should be tried away from; none before the second rung."""
        trouble = self._troubles.get(number)
        return set() if trouble is None or trouble.tries <= LADDER.index("elsewhere") else trouble.workers

    def forget(self, number: int) -> None:
        """The block is settled."""
        self._troubles.pop(number, None)


def attempt_all(work: Work, number: int, worker: str) -> Event:
    """The event of a block that climbs the whole ladder on the one worker that there is."""
    ladder = Ladder()
    while True:
        event = attempt(work, number, worker)
        if event.status != "failed" or ladder.next_try(event) is None:
            return event

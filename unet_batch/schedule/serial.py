"""The plain loop: the reference that every other executor must equal."""

from collections.abc import Iterable, Iterator

from unet_batch.schedule.events import Event, Stop, Work, attempt


def run(work: Work, numbers: Iterable[int], stop: Stop = lambda: False, tries: int = 2) -> Iterator[Event]:
    """One block after the other in this process; a block that fails is tried ``tries`` times."""
    for number in numbers:
        if stop():
            return
        for _ in range(tries):
            event = attempt(work, number, worker="serial")
            if event.status != "failed":
                break
        yield event

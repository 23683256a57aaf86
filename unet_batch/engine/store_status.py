"""Standing: where a store over blocks stands, from its ledger and history. What blocks hold is not known."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from unet_batch.store.ledger import FOLDER

_LINES = 20  # of failures.log


def state_of(counts: Mapping[str, int], *, finished: bool) -> str:
    """``incomplete``, ``failed`` or ``done``, of a store that no driver is at work on."""
    if counts["pending"] or not finished:
        return "incomplete"
    return "failed" if counts["failed"] else "done"


def failures_of(path: str | Path) -> list[str]:
    """The last lines of the store's log of failures."""
    try:
        text = (Path(path) / FOLDER / "failures.log").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return text.splitlines()[-_LINES:]


def sum_stages(stages: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by stage over many runs."""
    total: dict[str, float] = {}
    for part in stages:
        for stage, seconds in part.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return total

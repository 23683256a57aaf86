"""What the ledger and the history of a store over blocks say of it, whatever its blocks hold."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from unet_batch.errors import MissingError
from unet_batch.store.ledger import FOLDER, Ledger

_LINES = 20  # of failures.log


def state_counts(path: str | Path) -> dict[str, int]:
    """Blocks by what became of them; empty where there is no ledger."""
    try:
        blocks = Ledger.open(path).totals().blocks
    except MissingError:
        return {}
    return {status.name.lower(): count for status, count in blocks.items()}


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

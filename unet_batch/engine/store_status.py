"""Standing: where a store over blocks stands, from its ledger and history. What blocks hold is not known."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.store.ledger import FOLDER
from unet_batch.tiling import Grid

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


def pixels_of(grid: Grid, chosen: NDArray[np.bool_]) -> int:
    """Pixels of the blocks where ``chosen`` (of the grid's counts) is True."""
    total: NDArray[Any] = chosen
    for size, block, count in zip(grid.shape, grid.block, grid.counts, strict=True):
        extents = np.minimum(block, size - block * np.arange(count, dtype=np.int64))
        total = np.tensordot(total, extents, axes=([0], [0]))
    return int(total)


def sum_stages(stages: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Seconds by stage over many runs."""
    total: dict[str, float] = {}
    for part in stages:
        for stage, seconds in part.items():
            total[stage] = total.get(stage, 0.0) + seconds
    return total

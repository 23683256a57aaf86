"""LedgerHead: what a ledger says of itself: its grid, its times, which chunks of its arrays have files.

It is kept with a checksum in the attributes of the ledger's group. Ledgers of older versions keep times
alone.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import google_crc32c

from unet_batch.errors import FormatError, UnetBatchError
from unet_batch.store.arrays import open_array
from unet_batch.store.group import read_node, write_group

ARRAYS = {"status": "uint8", "checksum": "uint32", "seconds": "float32", "counts": "uint64"}
_OLD = {"first", "last"}


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """All times are Unix seconds, 0 before the first record.

    Attributes:
        grid: blocks on each axis.
        classes: how many counts a block has.
        first, last: times of the first and the last record.
        chunks: for each array a bit per chunk, in raster order, as hexadecimal digits: whether it has a file.
            Empty where that is not known.
        damage: how it was found, where that is worth a line; empty for a head as it was written.
    """

    grid: tuple[int, ...]
    classes: int
    first: float = 0.0
    last: float = 0.0
    chunks: Mapping[str, str] = field(default_factory=dict)
    damage: str = ""

    @classmethod
    def read(cls, folder: Path) -> "LedgerHead":
        """The head of the ledger ``folder``; one that is damaged is told by the arrays, as far as it can be.

        Raises:
            FormatError: neither is readable.
        """
        try:
            kept: Any = read_node(folder, str(folder))[1].get("ledger")
        except UnetBatchError:
            kept = None
        if isinstance(kept, dict) and kept.keys() == _OLD:
            return cls(*_from_arrays(folder), first=_time(kept["first"]), last=_time(kept["last"]))
        if isinstance(kept, dict) and kept.get("sum") == _sum(kept):
            return cls(tuple(kept["grid"]), kept["classes"], kept["first"], kept["last"], kept["chunks"])
        return cls(*_from_arrays(folder), damage="its metadata are damaged, and told by its arrays")

    def write(self, folder: Path) -> None:
        """Keep it."""
        kept = asdict(self)
        del kept["damage"]
        write_group(str(folder), {"ledger": {**kept, "sum": _sum(kept)}})


def _sum(kept: Mapping[str, Any]) -> int:
    text = json.dumps({key: value for key, value in kept.items() if key != "sum"}, sort_keys=True)
    return int(google_crc32c.value(text.encode()))


def _time(value: object) -> float:
    return float(value) if isinstance(value, int | float) and 0 <= value < 2**40 else 0.0


def _from_arrays(folder: Path) -> tuple[tuple[int, ...], int]:
    """Grid and number of counts by the shapes of the arrays."""
    shapes = {}
    for name in ARRAYS:
        try:
            shapes[name] = open_array(folder / name).shape
        except UnetBatchError:
            continue
    counts = shapes.pop("counts", None)
    if counts is None or counts[:-1] not in shapes.values():
        raise FormatError(f"{folder}: broken ledger metadata; restore the folder, or begin the output anew")
    return counts[:-1], counts[-1]

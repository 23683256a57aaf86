"""The table of statistics: a row per zone and class, as CSV or Parquet."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from unet_batch.models.metrics import scores
from unet_batch.products.outputs import as_text
from unet_batch.products.stats.plan import StatsPlan
from unet_batch.store.io_errors import written_whole

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Counted:
    """(Z, planes, *matrix) pixels of every zone and their sizes; without names there is one zone."""

    zones: Sequence[str] | None
    counts: NDArray[np.int64]
    sizes: NDArray[np.float64]


def rows(plan: StatsPlan, counted: Counted, dims: int, unit: str) -> list[Row]:
    """A row per zone and class: pixels, their share of those with data, and their size in ``unit``.

    With a reference also how they agree: scores over pixels that both know, and one column per class of the
    reference (and one for unlabelled pixels) with the pixels that it says so of. A zone without any pixel of
    the image has no size.
    """
    size = "area" if dims == 2 else "volume"
    found = []
    for number in range(len(counted.counts)):
        zone = {} if counted.zones is None else {"zone": counted.zones[number]}
        outside = bool(zone) and not counted.counts[number].any()
        for at, name in enumerate(plan.names):
            plane, value = (at, 1) if plan.multilabel else (0, at)
            matrix = counted.counts[number, plane]
            of_class = matrix[:, value]
            known = int(matrix[:, :-1].sum())
            pixels = int(of_class.sum())
            row = {
                **zone,
                "level": plan.level,
                "class": name,
                "pixels": pixels,
                "share": pixels / known if known else None,
                size: None if outside else float(counted.sizes[number, plane, :, value].sum()),
                "unit": unit,
            }
            found.append(row | (_agreement(plan, matrix, value) if plan.reference else {}))
    return found


def write(path: Path, found: list[Row]) -> None:
    """Write rows to ``path``, CSV or Parquet by its ending, whole or not at all.

    Raises:
        OutputError: a full disk, no permission.
    """
    table = pa.Table.from_pylist(found)
    with written_whole(path, fsync=True) as file:
        if path.suffix == ".csv":
            pa.csv.write_csv(pa.Table.from_pylist([_quoted(row) for row in found]), file)
        else:
            pa.parquet.write_table(table, file)


def is_table(path: Path) -> bool:
    """Whether a file has the columns of such a table."""
    try:
        if path.suffix == ".csv":
            names = pa.csv.read_csv(path).column_names
        else:
            names = pa.parquet.read_schema(path).names
    except (pa.ArrowInvalid, OSError):
        return False
    return {"level", "class", "pixels", "share", "unit"} <= set(names)


def _quoted(row: Row) -> Row:
    return {key: as_text(value) if isinstance(value, str) else value for key, value in row.items()}


def _agreement(plan: StatsPlan, matrix: NDArray[np.int64], value: int) -> Row:
    both = matrix[:-1, :-1]
    of = scores(both)
    row: Row = {
        "reference_pixels": int(both[value].sum()),
        "agreeing_pixels": int(both[value, value]),
        "precision": of.precision[value],
        "recall": of.recall[value],
        "iou": of.iou[value],
        "dice": of.dice[value],
    }
    if not plan.multilabel:
        labels = [*plan.names, "unlabelled"]
        row |= {f"reference_{name}": int(matrix[at, value]) for at, name in enumerate(labels)}
    return row

"""ObjectTable: what is known of each object of a store of object numbers, from the table made with it.

Its rows are in the order of the numbers 1, 2, ..., so a number is a place in the file, and only the row
groups at hand are read.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.extras import needed
from unet_batch.products.export.vector.rings import Ints
from unet_batch.products.objects.table import about, unit_told
from unet_batch.store.masks import Masks
from unet_batch.store.origin import not_given

_MEASURED = ("perimeter", "mean_")
_KEPT_GROUPS = 4


@dataclass(frozen=True, slots=True)
class ObjectTable:
    """Classes and measurements by object number.

    Args:
        names: of the classes.
        path: of the table; None where all objects are of one class and nothing more is known.
        chosen: names of the classes that are wanted; None takes all.
    """

    names: tuple[str, ...]
    path: str | None
    chosen: tuple[str, ...] | None = None

    @classmethod
    def of(cls, masks: Masks, path: str | None, classes: tuple[int | str, ...] | None) -> "ObjectTable":
        """The table at ``path``, or else OBJECTS.parquet beside a store OBJECTS or OBJECTS.zarr.

        Raises:
            InputError: a table of other objects, none where classes differ, or classes that there are not.
        """
        names = masks.layout.names
        if path and not _is_of(Path(path), masks):
            raise InputError(f"{path}: is not the table of {masks.path}; give that, or leave `table` out")
        beside = Path(masks.path).absolute().with_suffix(".parquet")
        if path is None and beside.is_file() and _is_of(beside, masks):
            path = str(beside)
        if not path and len(names) > 1:
            what = "a table tells the objects' classes, and is opened only if you name it"
            raise not_given(masks, what, {"table": "--set table="})
        for one in classes or ():
            if one not in names:
                raise InputError(f"{masks.path}: has no class {one!r}; choose among {', '.join(names)}")
        return cls(names, path, None if classes is None else tuple(map(str, classes)))

    def wanted(self, ids: Ints) -> NDArray[np.bool_]:
        """Which objects are of a class that was chosen."""
        if self.chosen is None:
            return np.ones(len(ids), np.bool_)
        return np.isin(self.columns(ids)["class"].astype(str), self.chosen)

    def columns(self, ids: Ints) -> dict[str, NDArray[Any]]:
        """Number, class and measurements of objects, by name."""
        if self.path is None:
            return {"id": ids, "class": np.full(len(ids), self.names[0], object)}
        return {"id": ids, **_rows(self.path, ids)}


def _is_of(table: Path, masks: Masks) -> bool:
    return bool(about(table).get("plan_hash") == masks.attributes.get("plan_hash"))


def _rows(path: str, ids: Ints) -> dict[str, NDArray[Any]]:
    starts = _starts(path)
    group = np.searchsorted(starts, ids - 1, side="right") - 1
    found = {name: np.empty(len(ids), column.dtype) for name, column in _group(path, 0).items()}
    for one in np.unique(group):
        mine = group == one
        for name, column in _group(path, int(one)).items():
            found[name][mine] = column[ids[mine] - 1 - starts[one]]
    return found


@lru_cache(maxsize=2)
def _starts(path: str) -> Ints:
    """First row of each row group."""
    with needed("products", "the table of objects"):
        import pyarrow.parquet as pq  # noqa: PLC0415 - an extra

    metadata = pq.read_metadata(path)
    rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    return np.cumsum([0, *rows[:-1]])


@lru_cache(maxsize=_KEPT_GROUPS)
def _group(path: str, number: int) -> dict[str, NDArray[Any]]:
    """Columns of one row group; of a table without any, empty ones."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - ``_starts`` has needed it

    with pq.ParquetFile(path) as file:
        names = ["class", *(name for name in file.schema_arrow.names if name.startswith(_MEASURED))]
        empty = not file.num_row_groups
        table = file.schema_arrow.empty_table() if empty else file.read_row_group(number, names)
        return {unit_told(table.field(name)): table.column(name).to_pandas().to_numpy() for name in names}

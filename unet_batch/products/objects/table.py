"""The table of objects: their numbers, 1, 2, ..., and Parquet or CSV with one row per object in that order.

Objects are numbered in the raster order of their first pixels, band by band. A band is a row of blocks along
the first axis. The first pixel of an object lies in one band, so bands can be numbered in turn, and only one
of them is held at a time.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import prod
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from unet_batch.engine.parts import Parts
from unet_batch.errors import FormatError, InputError, MissingError, one_line
from unet_batch.products.objects.fragments import NAMES, Fragments, chosen, joined, perimeter
from unet_batch.products.objects.plan import ObjectsPlan
from unet_batch.products.objects.unite import Union
from unet_batch.products.outputs import as_text
from unet_batch.products.scale import Scale
from unet_batch.store.georef import GeoReference
from unet_batch.store.io_errors import writing
from unet_batch.store.units import length

_MOST = 2**32 - 2  # object numbers are uint32, and the last is kept free


@dataclass(frozen=True, slots=True)
class Band:
    """Objects whose first pixels lie in one row of blocks, in order, from number ``begin`` on.

    Attributes:
        begin: number of the first object.
        objects: one row per object.
        ids: for each block of the band, the object number of each of its local labels; that of 0 is 0.
    """

    begin: int
    objects: Fragments
    ids: dict[int, NDArray[np.uint32]]


def read_columns(path: Path, most: int) -> dict[str, list[Any]]:
    """The columns of a table that ``unet-batch objects`` wrote, by name: ``id``, ``class`` and measures.

    Raises:
        MissingError, FormatError: no such file, or no such table.
        InputError: more than ``most`` rows.
    """
    if not path.is_file():
        raise MissingError(f"{path}: no such file; check the path of the table")
    try:
        rows = pq.read_metadata(path).num_rows
        if rows > most:
            raise InputError(f"{path}: {rows:,} objects, more than {most:,}; leave the table out")
        found: dict[str, list[Any]] = pq.read_table(path).to_pydict()
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{path}: no table of objects ({one_line(error)}); make it anew") from None
    if "id" not in found:
        raise FormatError(f"{path}: a table without a column `id`; give one of `unet-batch objects`")
    return found


def bands(plan: ObjectsPlan, parts: Parts, numbers: Sequence[int], union: Union) -> Iterator[Band]:
    """All objects of at least ``plan.smallest`` pixels; ``numbers`` are the blocks that have fragments."""
    ids_of_groups = np.zeros(len(union.whole["first"]), np.uint32)
    band_of_groups = union.whole["first"] // prod(plan.shape[1:]) // plan.block[0]
    begin = 1
    for row, members in groupby(sorted(numbers), key=lambda number: plan.grid.index(number)[0]):
        blocks, groups = list(members), np.flatnonzero(band_of_groups == row)
        alone = [union.groups_of(number) < 0 for number in blocks]
        tables = [chosen(parts.read(number, NAMES), mine) for number, mine in zip(blocks, alone, strict=True)]
        table = joined([*tables, chosen(union.whole, groups)])
        ids, order = _numbered(table, plan.smallest, begin)
        *single, shared = np.split(ids, np.cumsum([len(one["first"]) for one in tables]))
        ids_of_groups[groups] = shared
        found = {}
        for number, mine, own in zip(blocks, alone, single, strict=True):
            of_labels = np.zeros(len(mine) + 1, np.uint32)
            of_labels[1:][mine] = own
            of_labels[1:][~mine] = ids_of_groups[union.groups_of(number)[~mine]]
            found[number] = of_labels
        yield Band(begin, chosen(table, order), found)
        begin += len(order)


def _numbered(table: Fragments, smallest: int, begin: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The object number of each row, 0 if it is too small, and the rows of the others in order."""
    order = np.lexsort((table["kind"], table["first"]))
    order = order[table["pixels"][order] >= smallest]
    if begin + len(order) > _MOST:
        raise InputError(f"more than {_MOST:,} objects; leave out small ones with `smallest`")
    ids = np.zeros(len(table["first"]), np.uint32)
    ids[order] = np.arange(begin, begin + len(order))
    return ids, order


_KEY = "unet_batch"
_GROUP_ROWS = 2**17  # a row group is held until it is this long


@dataclass(frozen=True, slots=True)
class Columns:
    """How fragments become columns.

    Centroids are in pixels, 0 the centre of the first one; where there is a ``georef`` also on its map, else,
    where the size of a pixel is known, also in its unit from the same point (``position_x``).
    """

    plan: ObjectsPlan
    scale: Scale
    georef: GeoReference | None
    channels: tuple[str, ...]

    @property
    def schema(self) -> pa.Schema:
        """Names, types and units."""
        axes, dims = self.plan.axes[-self.plan.dims :], self.plan.dims
        size = "area" if dims == 2 else "volume"
        fields = [pa.field("id", pa.uint32()), pa.field("class", pa.dictionary(pa.int16(), pa.string()))]
        fields += [pa.field(axis, pa.int32()) for axis in self.plan.axes[:-dims]]
        fields += [pa.field(f"centroid_{axis}", pa.float64()) for axis in axes]
        fields += [pa.field(f"{axis}_{end}", pa.int32()) for end in ("min", "max") for axis in axes]
        fields += [pa.field("pixels", pa.int64()), self._measured(size, dims)]
        fields += [self._measured("perimeter", 1)] if dims == 2 else []
        fields += [pa.field(f"map_{axis}", pa.float64()) for axis in "xy" if self.georef is not None]
        fields += [self._measured(f"position_{axis}", 1) for axis in axes if self._has_positions]
        fields += [pa.field(f"mean_{name}", pa.float64()) for name in self.channels]
        return pa.schema(fields)

    def rows(self, objects: Fragments, begin: int) -> pa.Table:
        """The rows of ``objects``, numbered from ``begin`` on."""
        dims, pixels = self.plan.dims, objects["pixels"]
        outer = len(self.plan.shape) - dims
        at = np.unravel_index(objects["first"], self.plan.shape)[:outer]
        columns: list[Any] = [
            np.arange(begin, begin + len(pixels), dtype=np.uint32),
            self._classes(objects["kind"]),
        ]
        columns += at
        centres = objects["sums"] / pixels[:, None]
        columns += list(centres.T)
        columns += [*objects["low"].T, *objects["high"].T]
        rows = centres[:, -2]
        columns += [pixels, pixels * self.scale.measures(rows, dims)]
        if dims == 2:
            columns.append(perimeter(objects["crossings"], *self.scale.extents(rows)))
        if self.georef is not None:
            a, b, c, d, e, f = self.georef.transform
            y, x = centres[:, -2] + 0.5, centres[:, -1] + 0.5
            columns += [a * x + b * y + c, d * x + e * y + f]
        columns += list((centres * self.scale.size[-dims:]).T) if self._has_positions else []
        columns += list((objects["light"] / pixels[:, None]).T)
        schema = self.schema
        arrays = [
            column if isinstance(column, pa.Array) else pa.array(column.astype(kind.type.to_pandas_dtype()))
            for column, kind in zip(columns, schema, strict=True)
        ]
        return pa.Table.from_arrays(arrays, schema=schema)

    @property
    def _has_positions(self) -> bool:
        return self.georef is None and self.scale.unit is not None

    def _classes(self, kinds: NDArray[Any]) -> pa.DictionaryArray:
        return pa.DictionaryArray.from_arrays(
            pa.array((kinds - 1).astype(np.int16)), pa.array(self.plan.names)
        )

    def _measured(self, name: str, dims: int) -> pa.Field:
        return pa.field(name, pa.float64(), metadata={"unit": self.scale.unit_of(dims)})


@dataclass(slots=True)
class TableWriter:
    """A table that grows band by band, CSV or Parquet by its ending.

    ``about`` and the counts by class are kept in the metadata of Parquet as JSON.

    Attributes:
        counts: objects by class.
        sizes: how many objects have so many pixels.
    """

    path: Path
    columns: Columns
    about: dict[str, Any]
    counts: dict[str, int] = field(init=False)
    sizes: Counter[int] = field(default_factory=Counter)
    waiting: list[pa.Table] = field(default_factory=list)
    file: "pq.ParquetWriter | CsvTable" = field(init=False)

    def __post_init__(self) -> None:
        self.counts = dict.fromkeys(self.columns.plan.names, 0)
        schema = self.columns.schema
        with writing(str(self.path)):
            if self.path.suffix == ".csv":
                self.file = CsvTable(self.path, schema)
            else:
                self.file = pq.ParquetWriter(self.path, schema, compression="zstd")

    def add(self, objects: Fragments, begin: int) -> None:
        """Append the rows of a band."""
        for kind, count in zip(*np.unique(objects["kind"], return_counts=True), strict=True):
            self.counts[self.columns.plan.names[int(kind) - 1]] += int(count)
        pixels, times = np.unique(objects["pixels"], return_counts=True)
        self.sizes.update(dict(zip(pixels.tolist(), times.tolist(), strict=True)))
        self.waiting.append(self.columns.rows(objects, begin))
        if sum(map(len, self.waiting)) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        if self.waiting:
            table = pa.concat_tables(self.waiting)
            with writing(str(self.path)):
                self.file.write_table(table, row_group_size=len(table))
            self.waiting.clear()

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with writing(str(self.path)):
            if error is None:
                self._flush()
                self.file.add_key_value_metadata({_KEY: json.dumps({**self.about, "objects": self.counts})})
            self.file.close()


class CsvTable:
    """A CSV file with units in the names of columns, written as Parquet files are. Keeps no metadata."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        types = [pa.string() if one.name == "class" else one.type for one in schema]
        names = [unit_told(one) for one in schema]
        self.schema = pa.schema(list(zip(names, types, strict=True)))
        self.file = pc.CSVWriter(path, self.schema)

    def write_table(self, table: pa.Table, row_group_size: int) -> None:
        """Append rows."""
        del row_group_size
        named = pa.array([as_text(name) for name in table.column("class").to_pylist()], pa.string())
        table = table.set_column(table.column_names.index("class"), "class", named)
        self.file.write_table(table.rename_columns(self.schema.names).cast(self.schema))

    def add_key_value_metadata(self, told: Mapping[str, str]) -> None:
        """Nothing: CSV has no place for it."""

    def close(self) -> None:
        """Write the rest."""
        self.file.close()


def about(path: Path) -> dict[str, Any]:
    """What a table says of itself; empty where it is no table of this program."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
        found = json.loads(metadata.get(_KEY.encode(), b"{}"))
    except (pa.ArrowInvalid, OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_table(path: Path) -> bool:
    """Whether a file is a table of objects: of this program by its metadata, CSV by its first columns."""
    if path.suffix != ".csv":
        return bool(about(path))
    with path.open("rb") as file:
        return file.readline(40).startswith(b'"id","class"')


def unit_told(column: pa.Field) -> str:
    """Name of a column, with the unit of what has one."""
    unit = (column.metadata or {}).get(b"unit", b"").decode()
    plain = unit.rstrip("²³")
    power, found = unit[len(plain) :].translate({ord("²"): "2", ord("³"): "3"}), length(plain)
    short = found.ascii + power if found else unit.replace("pixel", "px").rstrip("²³")
    return f"{column.name}_{short}" if unit else str(column.name)


def channel_names(names: Sequence[str], count: int) -> tuple[str, ...]:
    """Names of channels as columns; numbers where there are none or not all differ."""
    return tuple(names) if len(set(names)) == count == len(names) else tuple(map(str, range(count)))

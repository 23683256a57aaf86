"""How `same_bytes.py` compares two outputs: bytes, but for times, machine and paths, which differ always."""

import json
import re
import sqlite3
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

# Of no two runs the same: when, where, how fast.
VOLATILE = {
    *("created", "time", "started", "first", "last", "seconds", "seconds_left", "pace", "stages"),
    *("bytes", "host", "machine", "python", "versions"),
    *("pixels_per_second", "trial_pixels_per_second", "decoded_bytes", "read_amplification"),
}
STAMP = re.compile(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?( ?UTC|Z)?")
ADDRESS = re.compile(rb"(tcp|tls)://[\d.:]+")
UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
SIDES = re.compile(rb"/(was|now|mid)/")  # of one length, so that a path alone changes no offset
TIMES = re.compile(r"<img[^>]*alt='their times'>|<td[^>]*data-stage=[^>]*>")
PICTURE = re.compile(
    r"alt='([^']*)'|<pre id='command'>(.*?)</pre>|data-value='(\d+)'|src='data:([^']*)'", re.DOTALL
)

Difference = tuple[str, str]  # where, how


def differences(was: Path, now: Path, resumed: bool = False) -> Iterator[Difference]:
    """Where two outputs, files or folders, differ; those of a resumed run have another history."""
    if not was.exists() or not now.exists():
        if was.exists() != now.exists():
            yield ".", "only before" if was.exists() else "only after"
        return
    names = sorted({str(file.relative_to(root)) for root in (was, now) for file in files(root)})
    for name in names:
        first, second = was / name, now / name
        if not first.is_file() or not second.is_file():
            yield name, "only before" if first.is_file() else "only after"
        elif not (resumed and first.name == "runs.jsonl"):
            yield from ((name, how) for how in of_files(first, second))


def files(root: Path) -> list[Path]:
    """Below ``root``, or itself; not locks, nor an extension that SQLite leaves."""
    found = [root] if root.is_file() else [file for file in root.rglob("*") if file.is_file()]
    return [file for file in found if file.name != "lock"]


def finished(output: Path) -> bool:
    """Whether an output is whole: files come by a rename; masks say so, images drop their plan."""
    if output.suffix != ".zarr":
        return output.exists()
    group = output / "zarr.json"
    attributes = json.loads(group.read_text())["attributes"] if group.exists() else {}
    own = attributes.get("unet_batch", {})
    return bool(own.get("finished", "ome" in attributes and "plan" not in own))


def of_files(was: Path, now: Path) -> Iterator[str]:
    """How two files differ."""
    first, second = was.read_bytes(), now.read_bytes()
    if first == second or "/ledger/seconds/c/" in str(was):
        return
    if was.suffix == ".jsonl":
        yield from of_values(lines(first), lines(second))
    elif was.suffix == ".json":
        yield from of_values(json.loads(cleaned(first)), json.loads(cleaned(second)))
    elif was.suffix == ".gpkg":
        yield from of_tables(was, now)
    elif was.suffix == ".parquet":
        yield from of_parquet(was, now)
    elif was.suffix == ".safetensors":
        yield from of_safetensors(first, second)
    elif was.suffix == ".html":
        yield from of_values(told(first), told(second))
    else:
        yield from of_bytes(cleaned(first), cleaned(second))


def cleaned(data: bytes) -> bytes:
    """Without the side's own path, dates, and what is made at random."""
    for pattern, name in ((STAMP, b"stamp"), (UUID, b"uuid"), (ADDRESS, b"address"), (SIDES, b"/.../")):
        data = pattern.sub(name, data)
    return data


def of_bytes(first: bytes, second: bytes) -> Iterator[str]:
    """Their lengths, and where they part."""
    if first != second:
        unlike = (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
        yield f"{len(first)} and {len(second)} bytes, unlike from {next(unlike, 'the end of one')} on"


def lines(data: bytes) -> list[Any]:
    """JSON lines."""
    return [json.loads(line) for line in cleaned(data).splitlines()]


def of_values(was: Any, now: Any, gains: bool = True, path: str = "") -> Iterator[str]:
    """How two JSON values differ, key by key; with ``gains`` off a key that is new is none."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now} - VOLATILE):
            if key not in now or key not in was:
                if gains or key in was:
                    yield f"{path}{key}: only {'before' if key in was else 'after'}"
            else:
                yield from of_values(was[key], now[key], gains, f"{path}{key}.")
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for number, (one, other) in enumerate(zip(was, now, strict=True)):
            yield from of_values(one, other, gains, f"{path}{number}.")
    elif was != now:
        yield f"{path.removesuffix('.')}: {short(was)} -> {short(now)}"


def short(value: Any) -> str:
    """As JSON, not more than a line holds."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def told(page: bytes) -> list[str]:
    """What a report says but for times: pictures, counts, the command."""
    text = TIMES.sub("", cleaned(page).decode())
    return [unescape("".join(match.groups(""))) for match in PICTURE.finditer(text)]


def of_tables(was: Path, now: Path) -> Iterator[str]:
    """How the rows of two GeoPackages differ."""
    first, second = rows(was), rows(now)
    for table in sorted({*first, *second}):
        if first.get(table) != second.get(table):
            yield f"table {table}: {len(first.get(table, []))} and {len(second.get(table, []))} rows, unlike"


def rows(path: Path) -> dict[str, list[str]]:
    """Of every table but those of SQLite's own index."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as base:
        names = [
            name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")
        ]
        quoted = {
            name: '"' + name.replace('"', '""') + '"' for name in names if not name.startswith("rtree_")
        }
        found = {name: base.execute(f"SELECT * FROM {table}").fetchall() for name, table in quoted.items()}
    return {name: [cleaned(repr(row).encode()).decode() for row in table] for name, table in found.items()}


def of_safetensors(first: bytes, second: bytes) -> Iterator[str]:
    """How two networks differ; the library writes its metadata in an order of chance."""
    sizes = [8 + int.from_bytes(data[:8], "little") for data in (first, second)]
    headers = [json.loads(data[8:size]) for data, size in zip((first, second), sizes, strict=True)]
    yield from of_values(*headers)
    yield from of_bytes(first[sizes[0] :], second[sizes[1] :])


def of_parquet(was: Path, now: Path) -> Iterator[str]:
    """How two Parquet files differ: values, then what is said of them."""
    first, second = pq.read_table(was), pq.read_table(now)
    if not first.equals(second):
        yield f"rows or columns ({first.shape} and {second.shape})"
    yield from of_values(said(first.schema), said(second.schema), path="metadata.")


def said(schema: Any) -> dict[str, Any]:
    """Metadata of the table and of its columns."""
    tables = {"": schema.metadata, **{name: schema.field(name).metadata for name in schema.names}}
    return {
        f"{name}/{key.decode()}": value_of(value)
        for name, held in tables.items()
        for key, value in (held or {}).items()
    }


def value_of(value: bytes) -> Any:
    """JSON where it is some."""
    try:
        return json.loads(cleaned(value))
    except ValueError:
        return cleaned(value).decode(errors="replace")

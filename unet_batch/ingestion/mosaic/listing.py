"""Which scenes there are: from paths, folders, or an index (CSV, GeoJSON, GDAL's tile index). Opens none."""

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from unet_batch.errors import FormatError, InputError, MissingError, one_line, text_of
from unet_batch.extras import require
from unet_batch.formats.catalogue import TIFF
from unet_batch.formats.raster import is_remote
from unet_batch.formats.remote import refuse_name

PATH_COLUMNS = ("path", "location", "file", "filename", "href", "url")


@dataclass(frozen=True, slots=True)
class Listed:
    """A scene to be opened; ``x`` and ``y`` are its position on a stage, where the index has it."""

    path: str
    x: float | None = None
    y: float | None = None


def list_scenes(
    paths: Sequence[str | Path], index: str | Path | None, *, remote: bool = False
) -> tuple[Listed, ...]:
    """All scenes in the order given, each once. A folder stands for the TIFFs in it.

    Raises:
        MissingError, FormatError: an index that is not there or cannot be read.
        InputError: no scene at all, or an index that names others on the network without ``remote``.
    """
    listed = [scene for path in paths for scene in _expanded(str(path))]
    if index is not None:
        listed += read_index(Path(index), remote=remote)
    if not listed:
        raise InputError("no scenes: give their paths, a folder of TIFFs, or --index FILE")
    return tuple(dict.fromkeys(listed))


def read_index(path: Path, *, remote: bool = False) -> list[Listed]:
    """The scenes that an index lists; relative paths start at its folder. Others as of ``list_scenes``."""
    if not path.is_file():
        raise MissingError(f"{path}: no such index; check the path")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    try:
        if suffixes[-1:] == [".csv"]:
            rows: Iterable[dict[str, Any]] = _csv_rows(path)
        elif suffixes[-1:] in ([".geojson"], [".json"]):
            rows = _geojson_rows(path)
        elif suffixes[-1:] == [".gti"]:
            return read_index(_indexed_by(path), remote=remote)
        else:
            rows = _vector_rows(path)
        found = [_listed(path, number, row, remote=remote) for number, row in enumerate(rows, start=1)]
    except (UnicodeDecodeError, csv.Error, json.JSONDecodeError, ET.ParseError, KeyError, TypeError) as error:
        reason = one_line(error, 150)
        raise FormatError(f"{path}: cannot be read as an index ({reason}); mend the file") from None
    if not found:
        raise InputError(f"{path}: lists no scenes; give one row for each")
    return found


def _expanded(path: str) -> list[Listed]:
    local = Path(path)
    if is_remote(path) or not local.is_dir():
        return [Listed(path)]
    inside = sorted(file for file in local.iterdir() if file.suffix.lower() in TIFF.suffixes)
    if not inside:
        raise InputError(f"{path}: no TIFFs in this folder; give the scenes themselves")
    return [Listed(str(file)) for file in inside]


def _listed(index: Path, number: int, row: dict[str, Any], *, remote: bool) -> Listed:
    named = {str(key).strip().lower(): value for key, value in row.items() if key is not None}
    path = next((named[column] for column in PATH_COLUMNS if named.get(column)), None)
    if not isinstance(path, str):
        raise FormatError(
            f"{index}: row {number} names no scene; give one of the columns {', '.join(PATH_COLUMNS)}"
        )
    path = path.strip()
    if not remote:
        refuse_name(path, f"{index}: row {number}")
    place = path if is_remote(path) or Path(path).is_absolute() else str(index.parent / path)
    x, y = named.get("x"), named.get("y")
    if x in (None, "") and y in (None, ""):
        return Listed(place)
    try:
        return Listed(place, float(x), float(y))  # type: ignore[arg-type]  # None is told of below
    except (TypeError, ValueError):
        raise FormatError(f"{index}: row {number} has position {x!r}, {y!r}; write two numbers") from None


def _csv_rows(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def _geojson_rows(path: Path) -> list[dict[str, Any]]:
    return [dict(feature["properties"]) for feature in json.loads(path.read_text("utf-8"))["features"]]


def _indexed_by(path: Path) -> Path:
    """The vector file that a .gti file (XML) names."""
    # A local file that the person named; expat refuses entity bombs.
    named = ET.parse(path).getroot().findtext("IndexDataset")  # noqa: S314
    if not named:
        raise FormatError(f"{path}: no <IndexDataset>; give GDAL's tile index, or the file that it names")
    return Path(named) if Path(named).is_absolute() else path.parent / named


def _vector_rows(path: Path) -> list[dict[str, Any]]:
    require("pyogrio", "geo", f"{path}: an index that is neither CSV nor GeoJSON")
    import pyogrio  # noqa: PLC0415 - an optional package

    with path.open("rb") as file:
        head = file.read(256)
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<"):  # may name a server to be asked
        raise FormatError(f"{path}: no index that is known (it is XML); give CSV, GeoJSON or a tile index")
    try:
        meta, _, _, columns = pyogrio.raw.read(path, read_geometry=False)
    except pyogrio.errors.DataSourceError as error:
        reason = text_of(error, 150)
        raise FormatError(
            f"{path}: no index that is known ({reason}); give CSV, GeoJSON or a tile index"
        ) from None
    return [dict(zip(meta["fields"], row, strict=True)) for row in zip(*columns, strict=True)]

"""A Zarr group: its attributes read, or the group written in one go. Not its arrays."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import zarr

from unet_batch import unsynced
from unet_batch.atomic import atomic_write
from unet_batch.errors import MissingError, OutputError
from unet_batch.store.arrays import Location
from unet_batch.store.io_errors import is_local, reading_metadata, writing

_OCCUPIED = ("zarr.json", ".zgroup", ".zarray")
# What a store holds beside its zarr.json, or a creation that was killed leaves: levels, layers, the ledger's
# lock, files not yet renamed.
_OWN = re.compile(r"\d+|probabilities|confidence|ledger|count|spatial_ref|.*\.partial")
_EMPTYING = Path("ledger") / "emptying.json"


def read_node(location: Location, where: str) -> tuple[str, dict[str, Any]]:
    """``group`` or ``array``, and the attributes of the Zarr node at ``location``.

    Raises:
        MissingError: no such path.
        FormatError: no Zarr there, or metadata that cannot be used.
    """
    with reading_metadata(where):
        root = str(location) if isinstance(location, Path) else location
        node = zarr.open(root, mode="r")
        return ("group" if isinstance(node, zarr.Group) else "array"), dict(node.attrs)


def write_group(path: str, attributes: dict[str, Any]) -> None:
    """Make ``path`` a group with these attributes, in place of those it has; a reader sees old or new."""
    with writing(path):
        if not is_local(path):
            zarr.open_group(path, mode="a").attrs.put(attributes)
            return
        Path(path).mkdir(parents=True, exist_ok=True)
        unsynced.add(Path(path) / "zarr.json", within=Path(path).parent)
        unsynced.sync()  # a group stands for all that was written before it
        text = json.dumps({"zarr_format": 3, "node_type": "group", "attributes": attributes}, indent=1)
        atomic_write(Path(path) / "zarr.json", text)


def write_scalar(path: str, attributes: dict[str, Any]) -> None:
    """Make ``path`` an array without axes, which is there for its attributes."""
    with writing(path):
        zarr.create_array(
            path,
            shape=(),
            dtype="int32",
            compressors=None,
            fill_value=0,
            attributes=attributes,
            overwrite=True,
        )
        if is_local(path):
            unsynced.add(Path(path) / "zarr.json", within=Path(path).parent)


def refuse_occupied(path: str) -> None:
    """Raise OutputError where a new store at ``path`` would meet an existing one, a file or other things."""
    if not is_local(path):
        try:
            read_node(path, path)
        except MissingError:
            return
        except ValueError:  # FormatError: nothing that zarr knows
            return
        raise OutputError(f"{path}: exists already; choose another output or remove it")
    folder = Path(path)
    with writing(path):
        if folder.exists() and not folder.is_dir():
            raise OutputError(f"{path}: a file is in the way; remove it or choose another output")
        if any((folder / name).exists() for name in _OCCUPIED):
            raise OutputError(f"{path}: exists already; choose another output or remove it")
        if folder.is_dir() and not all(_OWN.fullmatch(entry.name) for entry in folder.iterdir()):
            raise OutputError(f"{path}: a folder with other things in it; choose another output")
        if holds_results(folder):
            raise OutputError(
                f"{path}: holds finished blocks, but its zarr.json is missing; restore that file, or choose "
                "another output"
            )


def refuse_foreign(folder: Path) -> None:
    """Raise OutputError where a store that is to be made anew holds what this program did not put there."""
    for entry in folder.iterdir():
        if entry.name != "zarr.json" and not _OWN.fullmatch(entry.name):
            raise OutputError(
                f"{folder}: holds {entry.name}, which is no part of the store and would be lost; move it "
                "away, or choose another output"
            )


def is_emptying(folder: Path) -> bool:
    """Whether a run that was to make the store at ``folder`` anew was killed while it emptied it."""
    return (folder / _EMPTYING).exists()


def empty(folder: Path, plan: Path, keep: Path) -> None:
    """Remove all that a store holds but ``keep``; what a kill leaves is no store any more.

    Args:
        folder: the store, whose lock is held.
        plan: the file, from ``folder`` on, that makes it one; it goes first, and with it what readers find.
        keep: the lock, likewise.
    """
    with writing(str(folder)):
        if not is_emptying(folder):
            (folder / plan).rename(folder / _EMPTYING)
        kept = {folder / keep, folder / keep.parent, folder / _EMPTYING}
        for entry in (*folder.iterdir(), *(folder / keep.parent).iterdir()):
            if entry in kept:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        (folder / _EMPTYING).unlink()


def holds_results(folder: Path) -> bool:
    """Whether a folder without its own zarr.json has pixels, or a ledger: no creation leaves such."""
    if is_emptying(folder):
        return False
    ledger = folder / "ledger"
    if (ledger / "zarr.json").exists() or holds_records(ledger):
        return True
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir() and (
            _has_shards(entry) or any(_has_shards(a) for a in entry.iterdir() if a.is_dir())
        ):
            return True
    return False


def holds_records(ledger: Path) -> bool:
    """Whether anything is recorded in the ledger at ``ledger``, with or without its zarr.json."""
    journal = ledger / "journal.jsonl"
    if journal.is_file() and journal.stat().st_size:
        return True
    return ledger.is_dir() and any(_has_shards(array) for array in ledger.iterdir() if array.is_dir())


def _has_shards(array: Path) -> bool:
    chunks = array / "c"
    return chunks.is_file() or any(entry.is_file() for entry in chunks.rglob("*"))

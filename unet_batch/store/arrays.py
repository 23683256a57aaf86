"""Zarr arrays on disk: opened or created, read by boxes, written by whole shards, each shard atomically.

A shard is the unit of writing: two writers never share one, so nothing is locked or read back.
Knows nothing of images, masks or axes.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.storage import LocalStore

from unet_batch import unsynced
from unet_batch.errors import DamageError, FormatError, OutputError, one_line
from unet_batch.store import shard_file
from unet_batch.store.cache import ChunkCache, ReadCount, read_through
from unet_batch.store.containment import inside
from unet_batch.store.io_errors import is_local, reading_metadata, unreadable, writing
from unet_batch.store.layout import ArrayLayout
from unet_batch.store.pipeline import default_threads, opened, uses_zarrs, zarrs_reads
from unet_batch.tiling import BlockGrid, Box

if TYPE_CHECKING:
    from unet_batch.store.presence import Presence

_MOST_PIXELS = 2**62

Location: TypeAlias = str | Path | Store


@dataclass(slots=True)
class Array:
    """An open array. Safe to use from threads; pickles as its location and is opened anew.

    An array of bool is one of uint8, 0 and 1, for whoever reads it.
    """

    location: Location
    inner: str
    threads: int
    zarray: zarr.Array[Any]
    path: str
    encoders: int = 1
    shape: tuple[int, ...] = field(init=False)
    dtype: np.dtype[Any] = field(init=False)
    chunk: tuple[int, ...] = field(init=False)
    shard: tuple[int, ...] = field(init=False)
    chunks: BlockGrid = field(init=False)
    shards: BlockGrid = field(init=False)
    local: Path | None = field(init=False)
    metadata: dict[str, Any] = field(init=False)
    presence: "Presence | None" = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.shape = self.zarray.shape
        stored = self.zarray.dtype.newbyteorder("=")
        self.dtype = np.dtype(np.uint8) if stored.kind == "b" else stored
        self.chunk = self.zarray.chunks
        self.shard = self.zarray.shards or self.zarray.chunks
        self.chunks = BlockGrid(self.shape, self.chunk)
        self.shards = BlockGrid(self.shape, self.shard)
        self.local = Path(self.path) if _on_disk(self.zarray) else None
        self.metadata = dict(self.zarray.metadata.to_dict())

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopen, (self.location, self.inner, self.zarray.read_only, self.threads, self.encoders)

    @property
    def fill(self) -> Any:
        """What a shard that was never written reads as."""
        return self.zarray.fill_value

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of ``box``, which lies inside the shape.

        Raises:
            DamageError: stored data that fails its checksum or cannot be decoded, or that is gone.
        """
        self._check_inside(box)
        if not box.size:
            return np.empty(box.shape, self.dtype)
        self.require_present(box)
        fault = self._attempt(box)
        if isinstance(fault, np.ndarray):
            return fault
        raise DamageError(self._fault_of(self._bad_chunk(box), fault)) from fault

    def read_cached(
        self, box: Box, cache: ChunkCache, keep_outside: Box | None = None
    ) -> tuple[NDArray[Any], ReadCount]:
        """``read`` through ``cache``; chunks wholly inside ``keep_outside`` are not kept. Read-only."""
        self._check_inside(box)
        return read_through(self, box, cache, keep_outside)

    def write_shard(self, box: Box, data: NDArray[Any], *, needed: bool = False) -> None:
        """Write one whole shard; ``box`` is the shard clipped to the shape.

        ``needed``: after a loss of power the old shard or the new one must be there, whole.

        On a local file system a reader sees the old shard or the new one, never a part, also after a kill.

        Raises:
            OutputError: a full disk, no permission.
        """
        index = self._shard_index(box)
        if data.shape != box.shape or data.dtype != self.dtype:
            got = f"{data.shape} of {data.dtype}"
            raise ValueError(f"{self.path}: {box} takes {box.shape} of {self.dtype}, got {got}")
        with writing(self.path):
            if self.local is None:
                self.zarray[box.slices] = data
            else:
                shard_file.replace(
                    self.local,
                    self._file(self.local, index),
                    data,
                    self.metadata,
                    self.encoders,
                    needed=needed,
                )

    def has_data(self, box: Box) -> bool:
        """Whether any shard that touches ``box`` was ever written with more than fill (local arrays only)."""
        if self.local is None:
            return True
        return any(
            self._file(self.local, index).exists() for index in self.shards.indices_in(box).positions()
        )

    def require_present(self, box: Box) -> None:
        """Raise DamageError where a shard that touches ``box`` has no file, and a ledger calls it done."""
        if self.presence is None or self.local is None:
            return
        for index in self.shards.indices_in(box).positions():
            if not self._file(self.local, index).exists():
                self.presence.require(index)

    def present(self) -> NDArray[np.bool_]:
        """Which shards have files, as an array of their grid's shape (local arrays only)."""
        assert self.local is not None, "only of stores on disk"
        names = {entry.path for entry in _files(self.local / "c")}
        found = np.zeros(self.shards.counts, np.bool_)
        for index in np.ndindex(*self.shards.counts):
            found[index] = str(self._file(self.local, index)) in names
        return found

    def stamp(self) -> str:
        """Changes whenever a shard is written or removed (local arrays; others: always the same)."""
        digest = hashlib.sha256()
        files = sorted(self.local.rglob("*")) if self.local is not None else []
        for file in files:
            state = file.stat()
            if not file.is_dir():
                digest.update(f"{file.relative_to(self.path)} {state.st_size} {state.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def set_aside(self, index: tuple[int, ...], place: Path) -> None:
        """Move a shard's file, if there is one, to ``place``, which is replaced (local arrays only)."""
        assert self.local is not None, "only of stores on disk"
        file = self._file(self.local, index)
        with writing(self.path):
            if file.exists():
                place.parent.mkdir(exist_ok=True)
                file.replace(place)

    def clean_scratch(self) -> None:
        """Remove what killed writers left beside the shards; only while nobody writes."""
        if self.local is not None:
            with writing(self.path):
                shard_file.remove_scratch(self.local / shard_file.SCRATCH)
                for left in self.local.glob("*.partial"):
                    if shard_file.ZARR_SCRATCH.fullmatch(left.name):
                        left.unlink(missing_ok=True)

    def _attempt(self, box: Box) -> NDArray[Any] | BaseException:
        try:
            self._refuse_empty_files(box)
            return np.asarray(self.zarray[box.slices], dtype=self.dtype)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - each codec has errors of its own; read() raises them
            return error

    def _refuse_empty_files(self, box: Box) -> None:
        # A power cut can leave a renamed file without content; zarr-python takes that for no file at all and
        # gives fill. zarrs refuses it.
        if self.local is None or uses_zarrs(self.zarray):
            return
        for index in self.shards.indices_in(box).positions():
            file = self._file(self.local, index)
            if file.exists() and not file.stat().st_size:
                raise ValueError(f"{file.name} is empty")

    def _fault_of(self, chunk: tuple[int, ...], fault: BaseException) -> str:
        shard = self.shards.indices_in(self.chunks.box(chunk)).start
        if self.local is not None and unreadable(file := self._file(self.local, shard)):
            return f"{file}: not readable; ask for read permission"
        return (
            f"{self.path}: chunk {chunk} is damaged or unreadable ({one_line(fault)}); "
            f"run `unet-batch verify STORE --repair`, or restore the file"
        )

    def _bad_chunk(self, box: Box) -> tuple[int, ...]:
        touched = self.chunks.indices_in(box)
        for index in touched.positions():
            if not isinstance(self._attempt(self.chunks.box(index)), np.ndarray):
                return index
        return touched.start

    def _check_inside(self, box: Box) -> None:
        if box.ndim != len(self.shape) or not Box.of_shape(self.shape).contains(box):
            raise ValueError(f"{self.path}: box {box} reaches past the shape {self.shape}")

    def _shard_index(self, box: Box) -> tuple[int, ...]:
        touched = self.shards.indices_in(box)
        if touched.size != 1 or box != self.shards.box(touched.start):
            raise ValueError(f"{self.path}: box {box} is not one whole shard of {self.shard} in {self.shape}")
        return touched.start

    def _file(self, root: Path, index: tuple[int, ...]) -> Path:
        return root / self.zarray.metadata.encode_chunk_key(index)


def open_array(
    location: Location,
    inner: str = "",
    *,
    read_only: bool = True,
    threads: int | None = None,
    encoders: int = 1,
) -> Array:
    """The array at ``location`` (a path, URL or zarr store), or at the path ``inner`` inside it.

    ``threads`` decode what is read. ``encoders`` threads encode what is written; all arrays of the process
    that have so many share them, and no byte depends on their number.

    Raises:
        MissingError: no such path.
        FormatError: no array there, metadata that cannot be used, pixels that are not numbers, or a path
            ``inner`` that leads out of ``location``.
    """
    where = inside(described(location), inner) if inner else described(location)
    count = threads or default_threads()
    with reading_metadata(where):
        zarray = _opened(location, inner, count, read_only=read_only)
    if zarray.dtype.kind not in "buif":
        raise FormatError(f"{where}: pixels of type {zarray.dtype}; only integer, float and bool are read")
    if prod(zarray.shape) >= _MOST_PIXELS or min((*zarray.chunks, *(zarray.shards or ())), default=1) < 1:
        raise FormatError(f"{where}: no image has shape {zarray.shape!s:.60} and such chunks; mend zarr.json")
    if not zarray.shape or min(zarray.shape) < 1:
        raise FormatError(f"{where}: shape {zarray.shape} has no pixels; give an array that holds some")
    return Array(location, inner, count, zarray, where, encoders)


def create_array(
    path: str | Path, layout: ArrayLayout, *, replace: bool = False, threads: int | None = None
) -> Array:
    """A new array at ``path``, open for writing; ``replace`` removes one that is there with its pixels.

    Raises:
        OutputError: something is there already, or the place cannot be written.
    """
    where = str(path)
    if not replace and is_local(where) and (Path(where) / "zarr.json").exists():
        raise OutputError(f"{where}: exists already; choose another output or remove it")
    with writing(where):
        opened(
            lambda: _created(where, layout, replace=replace), fast=False, threads=threads or default_threads()
        )
        if is_local(where):
            unsynced.add(Path(where) / "zarr.json", within=Path(where).parent)
    return open_array(where, read_only=False, threads=threads)


def described(location: Location) -> str:
    """How messages name a place, and the path of a local one."""
    return str(location.root if isinstance(location, LocalStore) else location)


def _opened(location: Location, inner: str, threads: int, *, read_only: bool) -> zarr.Array[Any]:
    mode = "r" if read_only else "r+"
    root = str(location) if isinstance(location, Path) else location

    def action() -> zarr.Array[Any]:
        return zarr.open_array(root, path=inner or None, mode=mode)  # type: ignore[arg-type]

    zarray = opened(action, fast=False, threads=threads)
    return opened(action, fast=True, threads=threads) if _on_disk(zarray) and zarrs_reads(zarray) else zarray


def _created(where: str, layout: ArrayLayout, *, replace: bool) -> zarr.Array[Any]:
    return zarr.create_array(
        where,
        overwrite=replace,
        **layout.as_zarr(),
    )


def _reopen(location: Location, inner: str, read_only: bool, threads: int, encoders: int) -> Array:
    return open_array(location, inner, read_only=read_only, threads=threads, encoders=encoders)


def _files(folder: Path) -> Iterator[os.DirEntry[str]]:
    if folder.is_dir():
        for entry in os.scandir(folder):
            yield from _files(Path(entry.path)) if entry.is_dir() else [entry]


def _on_disk(zarray: zarr.Array[Any]) -> bool:
    return isinstance(zarray.store, LocalStore)

"""The ledger's arrays: status, checksum, seconds and class counts, one cell per block of the grid.

Status is held in memory whole (a byte per block); of the others only the chunks changed since the last
flush. Knows nothing of journals or locks.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import DamageError, UnetBatchError
from unet_batch.store.array_metadata import assumed_array, restore_metadata
from unet_batch.store.arrays import Array, create_array, open_array
from unet_batch.store.cache import ChunkCache
from unet_batch.store.journal import Entry, Status
from unet_batch.store.layout import ArrayLayout
from unet_batch.store.ledger_head import ARRAYS, LedgerHead

# Blocks per chunk on each axis, for grids of one to four axes: about 16 thousand in all.
_CHUNK = {1: 16384, 2: 128, 3: 25, 4: 11}
_CACHE_BYTES = 2**25
DAMAGED = "damaged"
_DECODING = ("chunk_grid", "chunk_key_encoding", "codecs")

Place = tuple[str, tuple[int, ...]]


@dataclass(slots=True)
class Columns:
    """Cells by block index. Not safe to share between threads: the driver alone writes."""

    arrays: dict[str, Array]
    status: NDArray[np.uint8]
    changed: dict[Place, NDArray[Any]] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    cache: ChunkCache = field(default_factory=lambda: ChunkCache(_CACHE_BYTES))

    @classmethod
    def create(cls, folder: Path, grid_shape: tuple[int, ...], classes: int) -> None:
        """New arrays in ``folder``, all blocks pending."""
        for name in ARRAYS:
            create_array(folder / name, _layout(name, grid_shape, classes), replace=True)

    @classmethod
    def open(cls, folder: Path, head: LedgerHead, *, writable: bool) -> "Columns":
        """The arrays in ``folder``, which ``head`` tells of.

        Nothing that is damaged hinders: metadata follow from the head, and blocks of a chunk that cannot be
        read, or has no file and should have, are pending. ``damage`` has a line for each. With ``writable``
        such chunks are moved to ``folder/damaged``.
        """
        arrays, damage = {}, []
        for name in ARRAYS:
            layout = _layout(name, head.grid, head.classes)
            assumed = assumed_array(folder / name, layout, read_only=not writable)
            arrays[name] = found = _as_told(folder / name, assumed, head.chunks.get(name, ""))
            if found is assumed:
                damage.append(f"metadata of its {name} are damaged, and made anew")
                if writable:
                    restore_metadata(folder / name, layout)
        columns = cls(arrays, np.zeros(head.grid, np.uint8), damage=damage)
        for chunk in arrays["status"].chunks:
            columns._take(chunk.index, head, folder / DAMAGED if writable else None)
        return columns

    def chunks_with_files(self) -> dict[str, str]:
        """What a head keeps as ``chunks``."""
        return {name: _bits(array.present()) for name, array in self.arrays.items()}

    @property
    def classes(self) -> int:
        """How many counts a block has."""
        return self.arrays["counts"].shape[-1]

    def get(self, index: tuple[int, ...]) -> Entry:
        """What is recorded of a block; its time, worker and error are not kept here."""
        return Entry(
            index=index,
            status=Status(int(self.status[index])),
            checksum=int(self._cell("checksum", index)),
            seconds=float(self._cell("seconds", index)),
            counts=tuple(int(c) for c in self._cell("counts", index)),
        )

    def put(self, entry: Entry) -> Entry:
        """Set a block's cells; gives what was recorded of it before, as ``get`` would."""
        cell, offset = self._place(entry.index)
        status, checksum, seconds, counts = (self._chunk_to_change(name, cell) for name in ARRAYS)
        old = Entry(
            index=entry.index,
            status=Status(int(self.status[entry.index])),
            checksum=int(checksum[offset]),
            seconds=float(seconds[offset]),
            counts=tuple(counts[offset].tolist()),
        )
        self.status[entry.index] = status[offset] = entry.status
        checksum[offset], seconds[offset] = entry.checksum, entry.seconds
        counts[offset] = entry.counts or 0
        return old

    def put_status(self, blocks: NDArray[np.bool_], status: Status) -> None:
        """Set the status of ``blocks`` (a mask of the grid's shape), and nothing else of them."""
        self.status[blocks] = status
        for chunk in self.arrays["status"].chunks:
            if blocks[chunk.box.slices].any():
                self.changed["status", chunk.index] = self.status[chunk.box.slices].copy()

    def flush(self) -> None:
        """Write the changed chunks, each atomically."""
        for (name, index), chunk in self.changed.items():
            array = self.arrays[name]
            array.write_shard(array.shards.box(index), chunk, needed=True)
        self.changed.clear()
        self.cache = ChunkCache(_CACHE_BYTES)

    def sums(self) -> tuple[float, NDArray[np.uint64]]:
        """Seconds and class counts over all blocks, read chunk by chunk."""
        seconds, counts = 0.0, np.zeros(self.classes, np.uint64)
        for chunk in self.arrays["seconds"].chunks:
            seconds += float(self._chunk("seconds", chunk.index).sum(dtype=np.float64))
            part = self._chunk("counts", (*chunk.index, 0))
            counts += part.reshape(-1, self.classes).sum(axis=0, dtype=np.uint64)
        return seconds, counts

    def _take(self, cell: tuple[int, ...], head: LedgerHead, aside: Path | None) -> None:
        """Read one chunk of all arrays; where one of them is damaged all are set aside."""
        box, bad = self.arrays["status"].chunks.box(cell), ""
        for name, array in self.arrays.items():
            index = _named(name, cell)[1]
            try:
                pixels = _chunk_of(array, index, head.chunks.get(name, ""))
            except DamageError:
                bad = name
                break
            if name == "status":
                if pixels.max(initial=0) >= len(Status):
                    bad = name
                    break
                self.status[box.slices] = pixels
        if not bad:
            return
        self.status[box.slices] = Status.PENDING
        for name, array in self.arrays.items():
            place = _named(name, cell)
            whole = array.chunks.box(place[1])
            if aside is not None:
                array.set_aside(place[1], aside / f"{name}-{'.'.join(map(str, place[1]))}")
            self.changed[place] = np.zeros(whole.shape, array.dtype)
        self.damage.append(f"chunk {cell} of its {bad} is damaged: {box.size} blocks are open again")

    def _cell(self, name: str, index: tuple[int, ...]) -> Any:
        cell, offset = self._place(index)
        place = _named(name, cell)
        changed = self.changed.get(place)
        if changed is not None:
            return changed[offset]
        array = self.arrays[name]
        return array.read_cached(array.chunks.box(place[1]), self.cache)[0][offset]

    def _chunk(self, name: str, index: tuple[int, ...]) -> NDArray[Any]:
        changed, array = self.changed.get((name, index)), self.arrays[name]
        return array.read(array.chunks.box(index)) if changed is None else changed

    def _chunk_to_change(self, name: str, cell: tuple[int, ...]) -> NDArray[Any]:
        place = _named(name, cell)
        if place not in self.changed:
            array = self.arrays[name]
            self.changed[place] = array.read(array.chunks.box(place[1]))
        return self.changed[place]

    def _place(self, index: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The chunk that a block's cells are in, the same in all arrays, and where in it."""
        both = [divmod(i, c) for i, c in zip(index, self.arrays["status"].chunk, strict=True)]
        return tuple(cell for cell, _ in both), tuple(offset for _, offset in both)


def _layout(name: str, grid: tuple[int, ...], classes: int) -> ArrayLayout:
    chunk = tuple(min(n, _CHUNK.get(len(grid), 8)) for n in grid)
    last = (classes,) if name == "counts" else ()
    return ArrayLayout((*grid, *last), ARRAYS[name], (*chunk, *last), (*chunk, *last))


def _as_told(path: Path, assumed: Array, bits: str) -> Array:
    """The array by its own metadata; ``assumed`` where these are damaged.

    Metadata of another version may differ from those assumed; then what is stored can be read by them.
    """
    try:
        array = open_array(path, read_only=assumed.zarray.read_only)
        if (array.shape, array.dtype, array.fill) != (assumed.shape, assumed.dtype, assumed.fill):
            return assumed
        if any(array.metadata.get(key) != assumed.metadata.get(key) for key in _DECODING):
            for chunk in array.chunks:
                _chunk_of(array, chunk.index, bits)
    except UnetBatchError:
        return assumed
    return array


def _bits(flags: NDArray[np.bool_]) -> str:
    return np.packbits(flags.reshape(-1)).tobytes().hex()


def _chunk_of(array: Array, index: tuple[int, ...], bits: str) -> NDArray[Any]:
    """The cells of a chunk.

    Raises:
        DamageError: they cannot be read, or have no file although ``bits``, of a head, say so.
    """
    box, number = array.chunks.box(index), array.chunks.number(index)
    told = len(bits) > number // 4 and int(bits[number // 4], 16) >> (3 - number % 4) & 1
    if told and not array.has_data(box):
        raise DamageError(f"{array.path}: chunk {index} is gone")
    return array.read(box)


def _named(name: str, cell: tuple[int, ...]) -> Place:
    return name, ((*cell, 0) if name == "counts" else cell)

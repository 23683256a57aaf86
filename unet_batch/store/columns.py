"""The ledger's arrays: status, checksum, seconds and class counts, one cell per block of the grid.

Status is held in memory whole (a byte per block); of the others only the chunks changed since the last
flush. Knows nothing of journals or locks.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.store.arrays import Array, create_array, open_array
from unet_batch.store.cache import ChunkCache
from unet_batch.store.journal import Entry, Status
from unet_batch.store.layout import ArrayLayout
from unet_batch.tiling.box import Box

DTYPES = {"status": "uint8", "checksum": "uint32", "seconds": "float32", "counts": "uint64"}
# Blocks per chunk on each axis, for grids of one to four axes: about 16 thousand in all.
_CHUNK = {1: 16384, 2: 128, 3: 25, 4: 11}
_CACHE_BYTES = 2**25

Place = tuple[str, tuple[int, ...]]


@dataclass(slots=True)
class Columns:
    """Cells by block index. Not safe to share between threads: the driver alone writes."""

    arrays: dict[str, Array]
    status: NDArray[np.uint8]
    changed: dict[Place, NDArray[Any]] = field(default_factory=dict)
    cache: ChunkCache = field(default_factory=lambda: ChunkCache(_CACHE_BYTES))

    @classmethod
    def create(cls, folder: Path, grid_shape: tuple[int, ...], classes: int) -> None:
        """New arrays in ``folder``, all blocks pending."""
        chunk = tuple(min(n, _CHUNK.get(len(grid_shape), 8)) for n in grid_shape)
        for name, dtype in DTYPES.items():
            last = (classes,) if name == "counts" else ()
            layout = ArrayLayout((*grid_shape, *last), dtype, (*chunk, *last), (*chunk, *last))
            create_array(folder / name, layout, replace=True)

    @classmethod
    def open(cls, folder: Path, *, writable: bool) -> "Columns":
        """The arrays in ``folder``."""
        arrays = {name: open_array(folder / name, read_only=not writable) for name in DTYPES}
        status = arrays["status"]
        return cls(arrays, status.read(Box.of_shape(status.shape)))

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
        status, checksum, seconds, counts = (self._chunk_to_change(name, cell) for name in DTYPES)
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
            array.write_shard(array.shards.box(index), chunk)
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


def _named(name: str, cell: tuple[int, ...]) -> Place:
    return name, ((*cell, 0) if name == "counts" else cell)

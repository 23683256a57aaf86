"""Strips: parts of a shard, encoded beside each other and joined to the file that one thread would write.

A shard's file is its chunks in C order and an index at the end: for each chunk, C order, where it begins and
how long it is (two little-endian uint64, all ones where it is nothing but fill), then the CRC-32C of these.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

NONE = np.uint64(2**64 - 1)
INDEX_CODECS = ["bytes", "crc32c"]


@dataclass(frozen=True, slots=True)
class Strips:
    """A shard cut along its first axis of several chunks, so that strips follow each other in C order.

    Attributes:
        whole: metadata of the array.
        shape: of the data, which may end before the shard does.
        counts: chunks of the shard on each axis.
        chunk: their extents.
        axis: along which it is cut.
        edges: where strips begin and end on it, in chunks; the last may reach past the data.
    """

    whole: dict[str, Any]
    shape: tuple[int, ...]
    counts: tuple[int, ...]
    chunk: tuple[int, ...]
    axis: int
    edges: tuple[int, ...]

    @classmethod
    def of(cls, shape: Sequence[int], metadata: dict[str, Any], wanted: int) -> "Strips | None":
        """``wanted`` strips of data of ``shape``, or as many as there are chunks; None for one alone.

        Also None where the file is not laid out as above.
        """
        codecs = metadata["codecs"]
        if wanted < 2 or [codec["name"] for codec in codecs] != ["sharding_indexed"]:
            return None
        own = codecs[0]["configuration"]
        index = [codec["name"] for codec in own["index_codecs"]]
        if own.get("index_location", "end") != "end" or index != INDEX_CODECS:
            return None
        shard, chunk = metadata["chunk_grid"]["configuration"]["chunk_shape"], tuple(own["chunk_shape"])
        counts = tuple(a // b for a, b in zip(shard, chunk, strict=True))
        axis = next((k for k, n in enumerate(counts) if n > 1), 0)
        rows = -(-shape[axis] // chunk[axis])  # that hold data
        edges = tuple(sorted({round(rows * n / wanted) for n in range(wanted + 1)}))
        if len(edges) < 3:
            return None
        return cls(metadata, tuple(shape), counts, chunk, axis, edges)

    @property
    def cuts(self) -> list[tuple[slice, ...]]:
        """Of the data, one for each strip."""
        size, lead = self.chunk[self.axis], (slice(None),) * self.axis
        return [(*lead, slice(a * size, b * size)) for a, b in zip(self.edges, self.edges[1:], strict=False)]

    def metadata(self, number: int) -> dict[str, Any]:
        """Of an array whose only shard is this strip."""
        counts = self._counts(number)
        extents = [n * size for n, size in zip(counts, self.chunk, strict=True)]
        grid = {"name": "regular", "configuration": {"chunk_shape": extents}}
        return {**self.whole, "chunk_grid": grid}

    def join(self, files: Sequence[Path], file: Path) -> None:
        """Write the strips' ``files`` as one shard; no file where none of them has one."""
        entries = np.full((*self.counts, 2), NONE, "<u8")
        length = 0
        if not any(one.exists() for one in files):
            return
        with file.open("wb") as shard:
            for number, one in enumerate(files):
                if not one.exists():
                    continue
                chunks, own = _parted(one.read_bytes(), self._counts(number))
                own[..., 0][own[..., 0] != NONE] += np.uint64(length)
                rows = slice(self.edges[number], self.edges[number + 1])
                entries[(slice(None),) * self.axis + (rows,)] = own
                length += shard.write(chunks)
            index = entries.tobytes()
            shard.write(index + google_crc32c.value(index).to_bytes(4, "little"))

    def _counts(self, number: int) -> tuple[int, ...]:
        rows = self.edges[number + 1] - self.edges[number]
        return (*self.counts[: self.axis], rows, *self.counts[self.axis + 1 :])


def _parted(content: bytes, counts: tuple[int, ...]) -> tuple[bytes, NDArray[np.uint64]]:
    """A shard's chunks, and its index."""
    size = 16 * prod(counts) + 4
    index = np.frombuffer(content[-size:-4], "<u8").reshape(*counts, 2)
    return content[:-size], index.astype(np.uint64)

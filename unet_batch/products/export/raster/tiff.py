"""TIFF: header and image file directories as bytes. Little-endian; BigTIFF where 4 GiB do not do.

Sources: TIFF 6.0; https://www.awaresystems.be/imaging/tiff/bigtiff.html.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unet_batch.tiling import round_up

ASCII, SHORT, LONG, RATIONAL, DOUBLE, LONG8 = 2, 3, 4, 5, 12, 16
_TYPES: dict[int, str] = {SHORT: "<u2", LONG: "<u4", RATIONAL: "<u4", DOUBLE: "<f8", LONG8: "<u8"}
_PER_VALUE = {RATIONAL: 2}
_COMPRESSIONS = {"none": 1, "lzw": 5, "deflate": 8, "zstd": 50000}


def compression_tag(compression: str) -> int:
    """Value of the TIFF tag Compression for a setting such as ``deflate:9``."""
    return _COMPRESSIONS[compression.partition(":")[0]]


@dataclass(frozen=True, slots=True)
class Tag:
    """One entry of a directory; ``values`` are text for ASCII, numbers for all others."""

    code: int
    kind: int
    values: Any

    @property
    def data(self) -> bytes:
        """The values as stored."""
        if self.kind == ASCII:
            return str(self.values).encode() + b"\0"
        return np.atleast_1d(np.asarray(self.values)).astype(_TYPES[self.kind]).tobytes()

    @property
    def count(self) -> int:
        """Number of values."""
        if self.kind == ASCII:
            return len(self.data)
        return int(np.size(self.values)) // _PER_VALUE.get(self.kind, 1)


@dataclass(frozen=True, slots=True)
class Format:
    """Classic TIFF, or BigTIFF: how wide its offsets and counts are."""

    big: bool

    @property
    def header_size(self) -> int:
        """Bytes before the first directory, without what one may put between."""
        return 16 if self.big else 8

    @property
    def offset_kind(self) -> int:
        """Type of a tag of offsets."""
        return LONG8 if self.big else LONG

    def header(self, first: int) -> bytes:
        """The file's head; the first directory is at ``first``."""
        if self.big:
            return struct.pack("<2sHHHQ", b"II", 43, 8, 0, first)
        return struct.pack("<2sHI", b"II", 42, first)

    def directory_size(self, tags: Sequence[Tag]) -> int:
        """Bytes of a directory with the values that do not fit into its entries."""
        return self._entries_size(len(tags)) + sum(self._outside(tag) for tag in tags)

    def directory(self, tags: Sequence[Tag], at: int, following: int) -> bytes:
        """The directory at byte ``at``; the next one is at ``following``, 0 for none."""
        room, size = 8 if self.big else 4, self._entries_size(len(tags))
        entries, outside, place = [], [], at + size
        for tag in sorted(tags, key=lambda one: one.code):
            data = tag.data
            head = struct.pack("<HHQ" if self.big else "<HHI", tag.code, tag.kind, tag.count)
            if len(data) <= room:
                entries.append(head + data.ljust(room, b"\0"))
                continue
            entries.append(head + struct.pack("<Q" if self.big else "<I", place))
            outside.append(data.ljust(self._outside(tag), b"\0"))
            place += self._outside(tag)
        count = struct.pack("<Q" if self.big else "<H", len(tags))
        link = struct.pack("<Q" if self.big else "<I", following)
        return b"".join([b"".join([count, *entries, link]).ljust(size, b"\0"), *outside])

    def _entries_size(self, count: int) -> int:
        size = 8 + 20 * count + 8 if self.big else 2 + 12 * count + 4
        return _even(size)

    def _outside(self, tag: Tag) -> int:
        size = len(tag.data)
        return 0 if size <= (8 if self.big else 4) else _even(size)


def _even(size: int) -> int:
    """``size`` to the next multiple of 8, so that all values are aligned."""
    return round_up(size, 8)

"""Parts: what blocks found, one file of arrays each, until it is joined. Knows not what they mean."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from unet_batch import unsynced
from unet_batch.atomic import atomic_file
from unet_batch.errors import DamageError
from unet_batch.store.io_errors import writing
from unet_batch.store.journal import Status
from unet_batch.store.ledger import Ledger
from unet_batch.tiling import BlockGrid

_ZIP = b"PK\x03\x04"  # how files of older versions begin, which have no checksum
_FOLDER_SIZE = 1000  # files in a folder: file systems of clusters suffer from more


@dataclass(frozen=True, slots=True)
class Parts:
    """Files under ``folder``, named after the numbers of blocks. Written from any number of processes."""

    folder: str

    def write(self, number: int, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep the arrays of block ``number``, whole or not at all; those it had before are replaced.

        Raises:
            OutputError: a full disk, no permission.
        """
        path = self._path(number)
        with writing(self.folder):
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path, fsync=False) as file:
                packed = io.BytesIO()
                np.savez(packed, allow_pickle=False, **arrays)
                file.write(google_crc32c.value(packed.getvalue()).to_bytes(4, "big") + packed.getvalue())
            unsynced.add(path, within=Path(self.folder).parent)

    def read(self, number: int, names: tuple[str, ...] | None = None) -> dict[str, NDArray[Any]]:
        """The arrays of a block, or those of them whose names begin with one of ``names``.

        Raises:
            DamageError: a file that is not as it was written.
        """
        path = self._path(number)
        try:
            with np.load(_checked(path.read_bytes()), allow_pickle=False) as stored:
                return {key: stored[key] for key in stored.files if names is None or key.startswith(names)}
        except Exception as error:
            raise DamageError(
                f"{path}: cannot be read ({type(error).__name__}); remove {self.folder} and run again"
            ) from error

    def lost(self, grid: BlockGrid, ledger: Ledger) -> list[tuple[int, ...]]:
        """Indices of the blocks that ``ledger`` calls done and that have no file."""
        done = [tuple(int(i) for i in index) for index in ledger.with_status(Status.DONE)]
        return [index for index in done if not self._path(grid.number(index)).is_file()]

    def _path(self, number: int) -> Path:
        return Path(self.folder, str(number // _FOLDER_SIZE), f"{number % _FOLDER_SIZE}.npz")


def _checked(data: bytes) -> io.BytesIO:
    """The arrays of a file, packed, as they were written.

    Raises:
        ValueError: they are not.
    """
    if data.startswith(_ZIP):
        return io.BytesIO(data)
    if google_crc32c.value(data[4:]) != int.from_bytes(data[:4], "big"):
        raise ValueError("another checksum")
    return io.BytesIO(data[4:])

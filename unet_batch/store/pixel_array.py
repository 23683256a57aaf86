"""PixelArray: what an Image needs of the array of a level, stored or computed as it is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unet_batch.store.cache import ChunkCache, ReadCount, read_through
from unet_batch.tiling import BlockGrid, Box


class PixelArray(Protocol):
    """The pixels of one level, all axes in stored order; safe to use from threads."""

    @property
    def path(self) -> str:
        """Where they come from; tells them apart in a cache."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels included."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the pixels, in native byte order."""
        ...

    @property
    def chunk(self) -> tuple[int, ...]:
        """Extent of what is decoded at once."""
        ...

    @property
    def chunks(self) -> BlockGrid:
        """The grid of chunks."""
        ...

    @property
    def shard(self) -> tuple[int, ...]:
        """Extent of what was written at once."""
        ...

    @property
    def local(self) -> Path | None:
        """The folder of a Zarr array on disk."""
        ...

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What decides the pixels beside themselves."""
        ...

    @property
    def fill(self) -> Any:
        """What was never written reads as; None where nothing is of that kind."""
        ...

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of ``box``, which lies inside the shape."""
        ...

    def read_cached(
        self, box: Box, cache: ChunkCache, keep_outside: Box | None = None
    ) -> tuple[NDArray[Any], ReadCount]:
        """``read`` through ``cache``; chunks wholly inside ``keep_outside`` are not kept. Read-only."""
        ...

    def has_data(self, box: Box) -> bool:
        """Whether something under ``box`` was ever written; True where nobody knows."""
        ...

    def stamp(self) -> str:
        """Changes whenever the pixels do, as far as this is known."""
        ...


@dataclass(frozen=True, slots=True)
class ComputedArray:
    """Pixels that ``compute`` gives for a box, such as those of a foreign file or of another scale."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunk: tuple[int, ...]
    compute: Callable[[Box], NDArray[Any]]
    metadata: Mapping[str, Any]

    @property
    def chunks(self) -> BlockGrid:
        """The grid of chunks."""
        return BlockGrid(self.shape, self.chunk)

    @property
    def shard(self) -> tuple[int, ...]:
        """A chunk."""
        return self.chunk

    @property
    def local(self) -> None:
        """No folder of an array."""
        return

    @property
    def fill(self) -> None:
        """Nothing is unwritten."""
        return

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of ``box``."""
        if not Box.of_shape(self.shape).contains(box):
            raise ValueError(f"{self.path}: box {box} reaches past the shape {self.shape}")
        return self.compute(box) if box.size else np.empty(box.shape, self.dtype)

    def read_cached(
        self, box: Box, cache: ChunkCache, keep_outside: Box | None = None
    ) -> tuple[NDArray[Any], ReadCount]:
        """``read`` through ``cache``."""
        return read_through(self, box, cache, keep_outside)

    def has_data(self, box: Box) -> bool:
        """Nobody knows."""
        del box
        return True

    def stamp(self) -> str:
        """What the metadata say."""
        return str(dict(self.metadata))

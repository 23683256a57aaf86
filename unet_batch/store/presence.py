"""Presence: whether the shards that a store's ledger calls done are there.

Zarr reads a shard without a file as fill. Where a ledger says that the block was written, that is right only
if all of the block is fill, which the ledger's checksum tells; else the file was lost: with the power, or by
hand.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import DamageError, UnetBatchError
from unet_batch.store.arrays import Array
from unet_batch.store.checksum import checksum
from unet_batch.store.group import read_node
from unet_batch.store.journal import Status
from unet_batch.store.layer import Layer
from unet_batch.store.ledger import FOLDER, Ledger
from unet_batch.tiling import BlockGrid

if TYPE_CHECKING:
    from unet_batch.store.image import Image


@dataclass(slots=True)
class Presence:
    """Of the arrays of one store whose shards are its blocks. Asked of a shard only when it has no file.

    Attributes:
        store: the store, with a ledger in it.
        channels_at: the place of the channel axis among the arrays' axes, -1 for none.
        cure: what brings the block back.
    """

    store: str
    channels_at: int
    cure: str
    statuses: NDArray[np.uint8] | None = field(default=None, init=False)

    def require(self, shard: tuple[int, ...]) -> None:
        """Raise DamageError where the shard of this index, which has no file, should have one."""
        index = tuple(n for axis, n in enumerate(shard) if axis != self.channels_at)
        if self.statuses is None:
            self.statuses = Ledger.open(self.store).statuses
        if len(index) != self.statuses.ndim or not self._done(index) or _holds_written(self.store, index):
            return
        raise DamageError(
            f"{self.store}: block {','.join(map(str, index))} is done by the ledger, but a file of it is "
            f"gone; {self.cure}"
        )

    def _done(self, index: tuple[int, ...]) -> bool:
        assert self.statuses is not None, "require has read them"
        inside = all(i < n for i, n in zip(index, self.statuses.shape, strict=True))
        return inside and int(self.statuses[index]) == Status.DONE


AGAIN = "run what made the store once more: it does such blocks again"


def watch(store: str, arrays: tuple[Array, ...], axes: str, cure: str = AGAIN) -> None:
    """Have the arrays of a pyramid refuse to read shards that the ledger in ``store`` misses."""
    if "://" in store or not (Path(store) / FOLDER / "zarr.json").is_file():
        return
    at = axes.find("c")
    presence = Presence(store, at, cure)
    for array in arrays:
        if array.shards.counts != arrays[0].shards.counts:
            break  # a coarse level, whose shards are not those of blocks
        array.presence = presence


def lost_blocks(
    layers: Sequence[Layer], ledger: Ledger, stored: Callable[[tuple[int, ...]], int]
) -> list[tuple[int, ...]]:
    """Grid indices of blocks that ``ledger`` calls done, and of which a file is gone.

    Args:
        layers: what blocks write; a block may lack a file in them because all of it is fill.
        ledger: of the same blocks.
        stored: the checksum of what the store holds of a block.
    """
    without = np.zeros(ledger.grid_shape, np.bool_)
    for layer in layers:
        at = layer.layout.axes.find("c")
        for array in layer.levels[: layer.written_levels]:
            there = array.present()
            without |= ~(there if at < 0 else there.any(axis=at))
    without &= ledger.statuses == Status.DONE
    found = [tuple(int(i) for i in index) for index in np.argwhere(without)]
    return [index for index in found if not _matches(stored, index, ledger.entry(index).checksum)]


def _matches(stored: Callable[[tuple[int, ...]], int], index: tuple[int, ...], wanted: int) -> bool:
    try:
        return stored(index) == wanted
    except DamageError:
        return False


def _holds_written(store: str, index: tuple[int, ...]) -> bool:
    """Whether a done block of ``store`` has the checksum that its ledger keeps, absent files read as fill."""
    try:
        return _checksum_matches(store, index, Ledger.open(store).entry(index).checksum)
    except UnetBatchError:
        return False


def _checksum_matches(store: str, index: tuple[int, ...], wanted: int) -> bool:
    from unet_batch.store.image import Image  # noqa: PLC0415 - both watch their arrays
    from unet_batch.store.masks import Masks  # noqa: PLC0415

    if "masks" in read_node(store, store)[1]:
        masks = Masks.open(store, watched=False)
        return masks.block_checksum(masks.layout.blocks.box(index)) == wanted
    image = Image.open(store, watched=False)
    count = None if image.nodata_mask is None else Image.open(image.nodata_mask)
    parts = zip(*(_checksums(one, index) for one in (image, count) if one is not None), strict=False)
    return any(np.bitwise_xor.reduce(part) == wanted for part in parts)


def _checksums(image: "Image", index: tuple[int, ...]) -> list[int]:
    """Checksums of a block over the first level, over the first two, and so on: as many as it may have."""
    found: list[NDArray[Any]] = []
    sums = []
    for level in range(len(image.levels)):
        one = image.at_level(level)
        at = one.axes.find("c")
        shard = tuple(s for axis, s in enumerate(one.array.shard) if axis != at)
        grid = BlockGrid(one.shape, shard)
        if any(i >= n for i, n in zip(index, grid.counts, strict=True)):
            break
        found.append(one.read(grid.box(index)))
        sums.append(checksum(found))
    return sums

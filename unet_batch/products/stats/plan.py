"""StatsPlan: all that decides the counts of a mask store, frozen, as JSON. Runs nothing."""

from functools import cached_property
from typing import Literal

from unet_batch.config import Config
from unet_batch.tiling import BlockGrid


class StatsPlan(Config):
    """What is counted. ``shape`` and ``block`` are those of ``level``; ``zones`` is a file by its content."""

    version: Literal[1] = 1
    masks: str
    level: int
    shape: tuple[int, ...]
    block: tuple[int, ...]
    names: tuple[str, ...]
    multilabel: bool
    zones: str | None
    layer: str | None
    zone: str | None
    reference: str | None
    ignore: int

    @cached_property
    def grid(self) -> BlockGrid:
        """The blocks."""
        return BlockGrid(self.shape, self.block)

    @property
    def planes(self) -> int:
        """Sets of labels: the channels of multilabel masks, else one."""
        return len(self.names) if self.multilabel else 1

    @property
    def matrix(self) -> tuple[int, int]:
        """Shape of the counts of one plane: values of the reference and values found, unknown last of each.

        Without a reference there is one row.
        """
        values = 3 if self.multilabel else len(self.names) + 1
        return values if self.reference else 1, values

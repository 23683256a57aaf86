"""Product: what an export makes of a view: passes over blocks, then a file or folder of their pieces."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from unet_batch.engine.passes import BlockPass

Count = Callable[[int, int], None]
"""Called with the pieces that are joined, and with how many there are."""


class Product(Protocol):
    """One kind of output."""

    def passes(self, folder: Path) -> list[BlockPass]:
        """The work, and the folder that its pieces go to."""

    def join(self, folder: Path, target: Path, count: Count) -> "Joined":
        """All pieces in ``folder`` as ``target``, which does not exist."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What was written: polygons counted, and what belongs into OUT.aux.xml, where GDAL looks for more."""

    features: int | None = None
    sidecar: str = ""

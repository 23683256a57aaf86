"""Product: what an export makes of a view: passes over blocks, then a file or folder of their pieces."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from unet_batch.products.export.workplace import Pass


class Product(Protocol):
    """One kind of output."""

    def passes(self, folder: Path) -> list[Pass]:
        """The work, and the folder that its pieces go to."""

    def join(self, folder: Path, target: Path) -> "Joined":
        """All pieces in ``folder`` as ``target``, which does not exist."""


@dataclass(frozen=True, slots=True)
class Joined:
    """What was written: polygons counted, and what belongs into OUT.aux.xml, where GDAL looks for more."""

    features: int | None = None
    sidecar: str = ""

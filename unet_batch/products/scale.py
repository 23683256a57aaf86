"""Scale: what a pixel of masks is in true units."""

from dataclasses import dataclass
from math import prod

from unet_batch.store.masks import Masks


@dataclass(frozen=True, slots=True)
class Scale:
    """Extent of a pixel along each axis but the channels, and the unit, None where nothing says one."""

    axes: str
    size: tuple[float, ...]
    unit: str | None

    @classmethod
    def of(cls, masks: Masks) -> "Scale":
        """The scale of level 0."""
        layout = masks.layout
        return cls(layout.axes, tuple(layout.pixel_size.get(a, 1.0) for a in layout.axes), layout.unit)

    def extent(self, axis: str) -> float:
        """Of a pixel along one axis."""
        return self.size[self.axes.index(axis)]

    def measure(self, dims: int) -> float:
        """Area (2) or volume (3) of a pixel."""
        return prod(self.size[-dims:])

    def unit_of(self, dims: int) -> str:
        """Unit of a length (1), an area (2) or a volume (3)."""
        return f"{self.unit or 'pixel'}{('', '²', '³')[dims - 1]}"

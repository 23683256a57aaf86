"""Scene: one source of a mosaic and where it lies on the mosaic's grid. Plain values; reads nothing."""

from dataclasses import dataclass

from unet_batch.tiling.box import Box

Span = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene, or one field of a stage scan.

    Attributes:
        path: where it is.
        span: first row and column on the mosaic's grid, and those behind the last; may pass the mosaic.
        copied: whether it lies on the grid, pixel for pixel; else it is warped.
        crs: CRS that it was said to have, where it names none.
        nodata: its own value without data.
        masked: whether its mask or alpha band says where there is data.
        series: which image of its file.
    """

    path: str
    span: Span
    copied: bool
    crs: str | None = None
    nodata: float | None = None
    masked: bool = False
    series: int = 0

    @property
    def box(self) -> Box:
        """Rows and columns of the mosaic's grid that it covers."""
        return Box(self.span[:2], self.span[2:])

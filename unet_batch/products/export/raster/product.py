"""Rasters as products: a COG, a folder of COGs, or an OME-TIFF, of the same pieces."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from unet_batch.engine.passes import BlockPass
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.product import Count, Joined
from unet_batch.products.export.raster.cog import write_cog
from unet_batch.products.export.raster.geometry import Geometry
from unet_batch.products.export.raster.geotiff import image_tags, pixel_tags, sidecar
from unet_batch.products.export.raster.ome_tiff import write_ome_tiff
from unet_batch.products.export.raster.parts import write_parts
from unet_batch.products.export.raster.pieces import Pieces
from unet_batch.products.export.raster.source import Source
from unet_batch.products.export.raster.work import TilesWork
from unet_batch.products.export.view import View

# Levels that one block makes: of 8 x 8 tiles, so 4096 pixels a side. Blocks of many or wide channels are
# smaller, as a block is in memory with all of them.
_SPAN, _LEAST_SPAN = 4, 2
_BLOCK_BYTES = 2**27


@dataclass(frozen=True, slots=True)
class Raster:
    """The tiled TIFFs of a view."""

    kind: Literal["cog", "parts", "ome-tiff"]
    view: Source
    config: ExportConfig

    @property
    def geometry(self) -> Geometry:
        """Where the tiles lie."""
        view, tile = self.view, self.config.tile
        pixel, span = view.channels * view.dtype.itemsize, _SPAN
        while span > _LEAST_SPAN and pixel * (tile << (span - 1)) ** 2 > _BLOCK_BYTES:
            span -= 1
        samples = view.channels if self.kind == "ome-tiff" else 1
        return Geometry(view.shape, view.planes, samples, tile, span)

    def passes(self, folder: Path) -> list[BlockPass]:
        """A pass for each group of levels."""
        geometry = self.geometry
        return [
            BlockPass(
                folder / f"level-{group * geometry.span}",
                geometry.grid(group),
                partial(self._work, folder, group),
            )
            for group in range(geometry.groups)
        ]

    def _work(self, folder: Path, group: int, _blocks: int) -> TilesWork:
        return TilesWork(self.view, self.geometry, group, folder, self.config.compression)

    def join(self, folder: Path, target: Path, count: Count) -> Joined:
        """The pieces as the file or folder ``target``."""
        pieces, compression = Pieces(folder, self.geometry, count), self.config.compression
        if self.kind == "ome-tiff":
            assert isinstance(self.view, View), "images are refused before"
            write_ome_tiff(target, pieces, self.view, compression)
            return Joined()
        if self.kind == "parts":
            target.mkdir()
            write_parts(target, pieces, self.view, self.config.part, compression)
            return Joined()
        levels = range(self.geometry.levels)
        write_cog(
            target,
            pieces,
            [pieces.page(level) for level in levels],
            [self.geometry.shape_at(level) for level in levels],
            (image_tags(self.view, self.view.georef), pixel_tags(self.view, self.config.tile, compression)),
        )
        return Joined(sidecar=sidecar(self.view) if self.view.classes else "")

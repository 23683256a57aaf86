"""Rasters as products: a COG, a folder of COGs, or an OME-TIFF, of tiles that blocks cut and encode."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from unet_batch.engine.passes import BlockPass, without_files
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.product import Count, Joined
from unet_batch.products.export.raster.cog import write_cog, write_parts
from unet_batch.products.export.raster.geotiff import image_tags, pixel_tags, sidecar
from unet_batch.products.export.raster.ome_tiff import write_ome_tiff
from unet_batch.products.export.raster.pieces import Geometry, Pieces, piece_path, save_tiles
from unet_batch.products.export.view import Source, View
from unet_batch.schedule.events import Event
from unet_batch.store.io_errors import written_whole
from unet_batch.tiling import Box

_DEFAULT_LEVELS = {"deflate": 6, "zstd": 9}


def encoder(compression: str) -> Callable[[NDArray[Any]], bytes | bytearray]:
    """What compresses the bytes of a tile."""
    name, _, level = compression.partition(":")
    if name == "none":
        return lambda tile: tile.tobytes()
    if name == "lzw":
        return lambda tile: imagecodecs.lzw_encode(tile.tobytes())
    # libdeflate, twice to three times as fast as zlib, writes the same format.
    function = imagecodecs.deflate_encode if name == "deflate" else imagecodecs.zstd_encode
    return lambda tile: function(tile.tobytes(), level=int(level or _DEFAULT_LEVELS[name]))


def tiles_of(pixels: NDArray[Any], tile: int, fill: float) -> list[NDArray[Any]]:
    """(h, w) or (h, w, samples) cut into tiles in raster order, those at the end filled up."""
    height, width = pixels.shape[:2]
    made = []
    for y in range(0, height, tile):
        for x in range(0, width, tile):
            part = pixels[y : y + tile, x : x + tile]
            if part.shape[:2] != (tile, tile):
                whole = np.full((tile, tile, *part.shape[2:]), fill, part.dtype)
                whole[: part.shape[0], : part.shape[1]] = part
                part = whole
            made.append(np.ascontiguousarray(part))
    return made


_CARRY = "npy"


@dataclass(frozen=True, slots=True)
class TilesWork:
    """Makes the tiles of a block of one group of levels.

    Levels that the store has are read from it; above them a block halves its own, and leaves its part of
    the next group's finest level beside its tiles.
    """

    view: Source
    geometry: Geometry
    group: int
    folder: Path
    compression: str

    def __call__(self, number: int) -> Event:
        """Do block ``number`` of the group's grid."""
        begun = time.perf_counter()
        block = self.geometry.grid(self.group).at(number)
        plane, box = block.index[0], Box(block.box.start[1:], block.box.stop[1:])
        encode, tiles = encoder(self.compression), []
        reading, pixels = 0.0, np.empty((0, 0, 0))
        for level in self.geometry.levels_of(self.group):
            began = time.perf_counter()
            pixels = self._pixels(level, plane, self.geometry.box_at(box, level), pixels)
            reading += time.perf_counter() - began
            for sample in self._samples(pixels):
                tiles += [encode(tile) for tile in tiles_of(sample, self.geometry.tile, self.view.fill or 0)]
        encoded = time.perf_counter()
        save_tiles(piece_path(self.folder, self.geometry, self.group, number), tiles)
        self._carry(number, pixels)
        stages = {
            "read": reading,
            "encode": encoded - begun - reading,
            "write": time.perf_counter() - encoded,
        }
        return Event(number, "done", stages=stages)

    def _pixels(self, level: int, plane: int, box: Box, finer: NDArray[Any]) -> NDArray[Any]:
        if level < self.view.stored_levels:
            return self.view.read(box, level, plane)
        if level % self.geometry.span:
            return self.view.halve(finer)
        return self._carried(plane, box)

    def _samples(self, pixels: NDArray[Any]) -> list[NDArray[Any]]:
        """(C, h, w) as (h, w) for each channel that is kept apart, or all channels of a pixel together."""
        if self.geometry.samples == len(pixels):
            return list(pixels)
        return [np.moveaxis(pixels, 0, -1)]

    def files(self, number: int) -> list[Path]:
        """What block ``number`` leaves."""
        kinds = ["tiles", _CARRY] if self._carries else ["tiles"]
        return [piece_path(self.folder, self.geometry, self.group, number, kind) for kind in kinds]

    @property
    def _carries(self) -> bool:
        """Whether the next group's finest level is made of what this one's blocks leave."""
        following = (self.group + 1) * self.geometry.span
        return self.view.stored_levels <= following < self.geometry.levels

    def _carry(self, number: int, pixels: NDArray[Any]) -> None:
        if self._carries:
            path = piece_path(self.folder, self.geometry, self.group, number, _CARRY)
            with written_whole(path) as file:
                np.save(file, self.view.halve(pixels))

    def _carried(self, plane: int, box: Box) -> NDArray[Any]:
        """What the blocks of the group before left of ``box``."""
        carried, whole = self.geometry.carried(self.group), Box((plane, *box.start), (plane + 1, *box.stop))
        found = np.full((self.view.channels, *box.shape), self.view.fill or 0, self.view.dtype)
        for number in map(int, carried.numbers_in(whole)):
            place = carried.box(number).relative_to(whole.start).slices[1:]
            found[:, *place] = np.load(piece_path(self.folder, self.geometry, self.group - 1, number, _CARRY))
        return found


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
                lost=without_files(partial(self._files, folder, group), geometry.grid(group)),
            )
            for group in range(geometry.groups)
        ]

    def _files(self, folder: Path, group: int, number: int) -> list[Path]:
        return self._work(folder, group, 1).files(number)

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

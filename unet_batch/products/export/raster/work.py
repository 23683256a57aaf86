"""Work on one block of a raster: its pixels at a group of levels, cut into tiles and encoded."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.products.export.raster.codec import encoder, tiles_of
from unet_batch.products.export.raster.geometry import Geometry
from unet_batch.products.export.raster.pieces import piece_path, save_tiles
from unet_batch.products.export.raster.source import Source
from unet_batch.products.export.whole import written_whole
from unet_batch.schedule.events import Event
from unet_batch.tiling import Box

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

    def _carry(self, number: int, pixels: NDArray[Any]) -> None:
        following = (self.group + 1) * self.geometry.span
        if self.view.stored_levels <= following < self.geometry.levels:
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

"""Layer: the levels of one multiscale array, written block by block with a leading channel axis.

Image writers and Masks are made of layers. Knows no metadata and no classes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import FormatError
from unet_batch.store.arrays import Array, create_array, open_array
from unet_batch.store.georef import GRID_MAPPING
from unet_batch.store.group import write_scalar
from unet_batch.store.layout import ArrayLayout, PyramidLayout
from unet_batch.tiling import BlockGrid, Box

Halve = Callable[[NDArray[Any]], NDArray[Any]]


def with_channels(box: Box, axes: str, first: int, stop: int) -> Box:
    """``box`` (no channel axis) with channels ``first`` to ``stop`` where ``axes`` has them."""
    at = axes.find("c")
    if at < 0:
        return box
    return Box((*box.start[:at], first, *box.start[at:]), (*box.stop[:at], stop, *box.stop[at:]))


def channels_first(pixels: NDArray[Any], axes: str) -> NDArray[Any]:
    """Stored pixels as (C, *others); a view."""
    at = axes.find("c")
    return pixels[np.newaxis] if at < 0 else np.moveaxis(pixels, at, 0)


def as_stored(pixels: NDArray[Any], axes: str) -> NDArray[Any]:
    """(C, *others) as stored; a view."""
    at = axes.find("c")
    return pixels[0] if at < 0 else np.moveaxis(pixels, 0, at)


def _require_laid_out(array: Array, layout: ArrayLayout) -> None:
    fill, floats = np.asarray(layout.fill, array.dtype), array.dtype.kind == "f"
    same_fill = np.array_equal(array.fill, fill, equal_nan=floats)
    if array.shape != layout.shape or array.dtype != np.dtype(layout.dtype) or not same_fill:
        raise FormatError(
            f"{array.path}: shape {array.shape}, {array.dtype}, fill {array.fill}, where the store's layout "
            f"says {layout.shape}, {layout.dtype}, {layout.fill}; bring its zarr.json back from a copy"
        )


@dataclass(frozen=True, slots=True)
class Layer:
    """One multiscale array. Boxes are of the level at hand and leave the channels out."""

    layout: PyramidLayout
    levels: tuple[Array, ...]

    @classmethod
    def create(cls, path: str, layout: PyramidLayout) -> "Layer":
        """New arrays ``0``, ``1``, ... at ``path``; what an interrupted creation left is replaced."""
        for level in range(layout.level_count):
            create_array(f"{path}/{level}", layout.array_at(level), replace=True)
        if layout.georef is not None:
            write_scalar(f"{path}/{GRID_MAPPING}", layout.georef.grid_mapping())
        return cls.open(path, layout, writable=True)

    @classmethod
    def open(cls, path: str, layout: PyramidLayout, *, writable: bool = False, encoders: int = 1) -> "Layer":
        """The arrays ``0``, ``1``, ... at ``path``.

        Raises:
            FormatError: an array is not there, or is not as the layout has it.
        """
        arrays = (
            open_array(path, str(k), read_only=not writable, encoders=encoders)
            for k in range(layout.level_count)
        )
        levels = tuple(arrays)
        for level, array in enumerate(levels):
            _require_laid_out(array, layout.array_at(level))
        return cls(layout, levels)

    @property
    def written_levels(self) -> int:
        """How many levels a block is written to."""
        return self.layout.one_pass_levels

    def read(self, box: Box, level: int = 0) -> NDArray[Any]:
        """(C, *box.shape) of ``level``."""
        axes = self.layout.axes
        pixels = self.levels[level].read(with_channels(box, axes, 0, self.layout.channels))
        return channels_first(pixels, axes)

    def write(self, box: Box, pixels: NDArray[Any], level: int = 0) -> None:
        """Write (C, *box.shape) to ``level``; ``box`` is one whole shard clipped to the shape."""
        axes, count = self.layout.axes, self.layout.channels
        if pixels.shape != (count, *box.shape):
            where = self.levels[level].path
            raise ValueError(f"{where}: {box} takes {(count, *box.shape)}, got {pixels.shape}")
        self.levels[level].write_shard(with_channels(box, axes, 0, count), as_stored(pixels, axes))

    def at_level(self, box: Box, level: int) -> Box:
        """The part of ``level`` that a block's ``box`` stands for."""
        return box.scale_down(self.layout.factor(level))

    def write_block(self, box: Box, pixels: Sequence[NDArray[Any]]) -> None:
        """Write a block to its shard of each one-pass level; ``pixels`` has one array per such level."""
        if len(pixels) != self.written_levels:
            where = self.levels[0].path
            raise ValueError(f"{where}: a block has {self.written_levels} levels, got {len(pixels)}")
        for level, part in enumerate(pixels):
            self.write(self.at_level(box, level), part, level)

    def read_block(self, box: Box) -> list[NDArray[Any]]:
        """What ``write_block`` wrote."""
        return [self.read(self.at_level(box, level), level) for level in range(self.written_levels)]

    def halved(self, pixels: NDArray[Any], halve: Halve) -> list[NDArray[Any]]:
        """``pixels`` of a block and its halvings: one array per one-pass level."""
        parts = [pixels]
        while len(parts) < self.written_levels:
            parts.append(halve(parts[-1]))
        return parts

    def fill_coarse(self, halve: Halve) -> None:
        """Write the levels above the one-pass ones, shard by shard, from the level below.

        Repeating it after an interruption or a repair gives the same levels. Shards without data below
        are dropped without being read.
        """
        for level in range(self.written_levels, len(self.levels)):
            for box in self.shards(level):
                self._fill_shard(level, box, halve)

    def coarse_differ(self, level: int, halve: Halve) -> bool:
        """Whether a level above the one-pass ones is not what the level below gives.

        Raises:
            DamageError: pixels of either level that cannot be read.
        """
        return any(
            not np.array_equal(self.read(box, level), halve(self.read(self._below(level, box), level - 1)))
            for box in self.shards(level)
        )

    def clean_scratch(self) -> None:
        """Remove what killed writers left; only while nobody writes."""
        for array in self.levels:
            array.clean_scratch()

    def _fill_shard(self, level: int, box: Box, halve: Halve) -> None:
        below = self._below(level, box)
        stored = with_channels(below, self.layout.axes, 0, self.layout.channels)
        target = with_channels(box, self.layout.axes, 0, self.layout.channels)
        self.levels[level - 1].require_present(stored)
        if self.levels[level - 1].has_data(stored):
            self.write(box, halve(self.read(below, level - 1)), level)
        elif self.levels[level].has_data(target):
            self.write(
                box, np.full((self.layout.channels, *box.shape), self.layout.fill, self.layout.dtype), level
            )

    def _below(self, level: int, box: Box) -> Box:
        """The pixels of the level below that ``box`` of ``level`` is made of."""
        factor = tuple(
            a // b for a, b in zip(self.layout.factor(level), self.layout.factor(level - 1), strict=True)
        )
        return box.scale_up(factor).intersect(Box.of_shape(self.layout.shape_at(level - 1)))

    def shards(self, level: int) -> Iterator[Box]:
        """Every shard of ``level``, clipped to its shape."""
        at = self.layout.axes.find("c")
        shard = tuple(s for axis, s in enumerate(self.levels[level].shard) if axis != at)
        return (one.box for one in BlockGrid(self.layout.shape_at(level), shard))

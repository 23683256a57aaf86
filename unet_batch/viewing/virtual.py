"""VirtualPyramid: an OME-Zarr image whose chunks are computed when they are asked for. No file is written."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.store import ome
from unet_batch.store.image import Image
from unet_batch.store.masks import Masks
from unet_batch.tiling import BlockGrid, Box

_CHUNK = re.compile(r"(\d{1,3})/c((?:/\d{1,12})+)")
_ARRAY = re.compile(r"(\d{1,3})/zarr\.json")
Compute = Callable[[int, Box], NDArray[np.uint8]]


@dataclass(frozen=True, slots=True)
class VirtualPyramid:
    """Labels of type uint8 over the levels of ``like``; ``compute`` gives those of a box of a level.

    Attributes:
        like: an image or mask store without channels, whose axes, levels and pixel size it has.
        chunk: extent of a chunk at every level.
        compute: (level, box in its pixels) -> (*box.shape) labels; called from several threads.
        fill: "no data".
    """

    like: Image
    chunk: tuple[int, ...]
    compute: Compute
    fill: int = 255

    def read(self, path: str) -> bytes | None:
        """The content of a file of the store; None where it has no such file."""
        if path == "zarr.json":
            return json.dumps(self._group()).encode()
        if found := _ARRAY.fullmatch(path):
            level = int(found[1])
            known = level < len(self.like.levels)
            return json.dumps(self._array(level)).encode() if known else None
        if found := _CHUNK.fullmatch(path):
            return self._chunk(int(found[1]), tuple(int(n) for n in found[2].split("/")[1:]))
        return None

    def _chunk(self, level: int, index: tuple[int, ...]) -> bytes | None:
        if level >= len(self.like.levels):
            return None
        grid = BlockGrid(self.like.levels[level].shape, self.chunk)
        if len(index) != len(grid.counts) or any(i >= n for i, n in zip(index, grid.counts, strict=True)):
            return None
        box = grid.box(index)
        whole = np.full(self.chunk, self.fill, np.uint8)
        whole[tuple(slice(n) for n in box.shape)] = self.compute(level, box)
        return whole.tobytes()

    def _group(self) -> dict[str, Any]:
        names = self.like.axes.replace("c", "")
        base = self.like.levels[0].factor
        factors = [
            dict(zip(names, (round(f / b) for f, b in zip(one.factor, base, strict=True)), strict=True))
            for one in self.like.levels
        ]
        entry = ome.multiscales("virtual", names, self.like.at_level(0).pixel_size, self.like.unit, factors)
        return {"zarr_format": 3, "node_type": "group", "attributes": {"ome": entry}}

    def _array(self, level: int) -> dict[str, Any]:
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(self.like.levels[level].shape),
            "data_type": "uint8",
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(self.chunk)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": self.fill,
            "codecs": [{"name": "bytes"}],
            "dimension_names": list(self.like.axes.replace("c", "")),
            "attributes": {},
        }


def difference(one: Masks, other: Masks) -> VirtualPyramid:
    """Where two masks of one image differ: 1, else 0; 255 where either has no data.

    At coarser levels it is the difference of their levels, so a difference of few pixels may vanish there.

    Raises:
        InputError: masks of other shapes or levels.
    """
    like, beside = Image.open(one.path), Image.open(other.path)
    if [level.shape for level in like.levels] != [level.shape for level in beside.levels]:
        raise InputError(
            f"{other.path}: has levels of other shapes than {one.path}; compare masks of one image and size"
        )

    def compute(level: int, box: Box) -> NDArray[np.uint8]:
        a, b = one.read(box, level)[0], other.read(box, level)[0]
        out: NDArray[np.uint8] = (a != b).astype(np.uint8)
        out[(a == one.layout.fill) | (b == other.layout.fill)] = 255
        return out

    chunk = tuple(min(512 if axis in "yx" else 1, n) for axis, n in zip(like.axes, like.shape, strict=True))
    return VirtualPyramid(like, chunk, compute)

"""Several files on one grid as the channels of one image."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import file_of, open_reader
from unet_batch.formats.reader import SAMPLES, ArrangedReader, Facts, Reader
from unet_batch.tiling.box import Box

_CLOSE = 1e-3
"""Share of a pixel, and of its size, by which grids may differ."""


def open_channels(paths: Sequence[str | Path], config: ReadConfig) -> Reader:
    """The image of one file, or the channels of several, one after the other.

    Raises:
        MissingError, FormatError, InputError: as of ``open_reader``; files whose grids differ.
    """
    if len(paths) == 1:
        return open_reader(paths[0], config)
    with ExitStack() as opened:
        one_by_one = config.model_copy(update={"channels": None})
        readers = [opened.enter_context(open_reader(path, one_by_one)) for path in paths]
        for path, reader in zip(paths[1:], readers[1:], strict=True):
            _check_grid(str(paths[0]), readers[0], str(path), reader)
        array = _Channels(readers)
        reader = ArrangedReader(str(paths[0]), array, _facts(paths, readers, array.dtype), config)
        opened.pop_all()
        return reader


def _facts(paths: Sequence[str | Path], readers: Sequence[Reader], dtype: np.dtype[Any]) -> Facts:
    first = readers[0]
    names = [
        name
        for path, one in zip(paths, readers, strict=True)
        for name in (one.channel_names or ([_stem(path)] * one.channels))
    ]
    mixed = tuple(f"pixels of type {one.dtype} become {dtype}" for one in readers if one.dtype != dtype)
    return Facts(
        kind=f"{first.kind}, {len(readers)} files",
        axes=SAMPLES + first.axes.replace("c", ""),
        channel_names=tuple(names),
        pixel_size=first.pixel_size,
        unit=first.unit,
        nodata=first.nodata,
        notes=tuple(dict.fromkeys(note for one in readers for note in one.notes)) + mixed,
        georef=first.georef,
        attributes=first.attributes,
    )


def _stem(path: str | Path) -> str:
    return file_of(path).name.partition(".")[0]


@dataclass
class _Channels:
    """A StoredArray (s, ...) of the channels of readers."""

    readers: Sequence[Reader]

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels first."""
        return (sum(one.channels for one in self.readers), *self.readers[0].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest type that holds all."""
        return np.result_type(*(one.dtype for one in self.readers))

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of the box, from the files that it touches."""
        place, first, found = Box(box.start[1:], box.stop[1:]), 0, []
        for one in self.readers:
            low, high = max(box.start[0] - first, 0), min(box.stop[0] - first, one.channels)
            if low < high:
                found.append(one.read(place)[low:high].astype(self.dtype, copy=False))
            first += one.channels
        return np.concatenate(found)

    def close(self) -> None:
        """Close all."""
        for one in self.readers:
            one.close()


def _check_grid(first: str, one: Reader, second: str, other: Reader) -> None:
    fault = _difference(one, other)
    if fault:
        raise InputError(
            f"{second}: its grid is another than that of {first} ({fault}); resample with `--like {first}`"
        )


def _difference(one: Reader, other: Reader) -> str:
    """What differs between two grids; empty where they are one."""
    axes = [reader.axes.replace("c", "") for reader in (one, other)]
    if axes[0] != axes[1] or one.shape != other.shape:
        return f"{axes[0]} {one.shape} and {axes[1]} {other.shape}"
    if one.unit != other.unit or not all(
        np.isclose(size, other.pixel_size.get(axis, 0.0), rtol=_CLOSE)
        for axis, size in one.pixel_size.items()
    ):
        return f"pixels of {_sizes(one)} and {_sizes(other)}"
    places = [
        np.array(reader.attributes.get("volume", {}).get("affine_ras_mm", np.eye(4)))
        for reader in (one, other)
    ]
    step = np.linalg.norm(places[0][:3, :3], axis=0).min()
    corners = np.array([[i, j, k, 1.0] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    corners[:, :3] *= np.array((*one.shape[::-1], 1, 1))[:3]
    apart = np.abs(corners @ places[0].T - corners @ places[1].T).max() / step
    if apart > _CLOSE * max(one.shape) and apart > 0.01:
        return f"they lie up to {apart:.3g} voxels apart"
    if one.georef != other.georef:
        return "they lie elsewhere on the earth"
    return ""


def _sizes(reader: Reader) -> str:
    return " x ".join(f"{size:.4g}" for size in reader.pixel_size.values()) or "no known size"

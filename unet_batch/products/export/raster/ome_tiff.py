"""OME-TIFF: pieces as a pyramidal OME-TIFF, levels as SubIFDs, written by tifffile as a stream."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from unet_batch.products.export.raster.pieces import Pieces
from unet_batch.products.export.raster.tiff import compression_tag
from unet_batch.products.export.view import View
from unet_batch.store.io_errors import written_whole
from unet_batch.store.units import MICROMETER

_CLASSIC_LIMIT = 2**31


def write_ome_tiff(path: Path, pieces: Pieces, view: View, compression: str) -> None:
    """Write all planes and channels of ``view`` at all levels to ``path``, there only when it is whole."""
    geometry = pieces.geometry
    common: dict[str, Any] = {
        "dtype": view.dtype,
        "tile": (geometry.tile, geometry.tile),
        "compression": compression_tag(compression),
        "photometric": "minisblack",
        "software": "unet-batch",
    }
    leading = (*view.outer, view.channels)
    with written_whole(path) as file, tifffile.TiffWriter(file, bigtiff=_is_big(pieces), ome=True) as writer:
        for level in range(geometry.levels):
            extra: dict[str, Any] = {"subfiletype": 1, "metadata": None}
            if level == 0:
                extra = {"subifds": geometry.levels - 1, "metadata": _metadata(view), **_resolution(view)}
            shape = (*leading, *geometry.shape_at(level))
            writer.write(_tiles(pieces, level), shape=shape, **common, **extra)


def _tiles(pieces: Pieces, level: int) -> Iterator[bytes]:
    for plane in range(pieces.geometry.planes):
        for sample in range(pieces.geometry.samples):
            yield from pieces.tiles(pieces.page(level, plane, sample))


def _is_big(pieces: Pieces) -> bool:
    geometry = pieces.geometry
    pages = [
        pieces.page(level, plane, sample)
        for level in range(geometry.levels)
        for plane in range(geometry.planes)
        for sample in range(geometry.samples)
    ]
    return sum(int(pieces.lengths(page).sum(dtype=np.uint64)) for page in pages) > _CLASSIC_LIMIT


def _metadata(view: View) -> dict[str, Any]:
    """What tifffile makes the OME-XML of: axes, pixel size, channel and class names."""
    axes = view.masks.layout.axes[:-2].upper() if view.outer else ""
    found: dict[str, Any] = {"axes": f"{axes}CYX", "Channel": {"Name": list(view.bands)}}
    for axis, extent in (view.micrometres or {}).items():
        found[f"PhysicalSize{axis.upper()}"] = extent
        found[f"PhysicalSize{axis.upper()}Unit"] = MICROMETER.symbol
    if view.classes is not None:
        found["MapAnnotation"] = {"Namespace": "unet-batch/classes", **_numbered(view.classes)}
    return found


def _numbered(names: tuple[str, ...]) -> dict[str, str]:
    return {str(number): name for number, name in enumerate(names)}


def _resolution(view: View) -> dict[str, Any]:
    if view.micrometres is None:
        return {}
    return {
        "resolution": (1e4 / view.micrometres["x"], 1e4 / view.micrometres["y"]),
        "resolutionunit": "CENTIMETER",
    }

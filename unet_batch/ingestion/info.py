"""`info`: what an image is, foreign or Zarr, without reading its pixels."""

from math import prod
from pathlib import Path
from typing import Any

from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import is_zarr, open_reader
from unet_batch.formats.probe import probe
from unet_batch.formats.raster import is_remote
from unet_batch.formats.reader import Reader
from unet_batch.store.bands import to_json
from unet_batch.store.image import Image


def info(path: str | Path, config: ReadConfig | None = None) -> dict[str, Any]:
    """Kind, axes, shape (without channels), channels, dtype, pixel size, unit, nodata, levels and bytes.

    ``bytes`` is the size of the pixels at full resolution, not of the file.

    Raises:
        MissingError, FormatError, InputError: as for reading it.
    """
    config = config or ReadConfig()
    if not is_remote(path) and is_zarr(Path(path)):
        image = Image.open(str(path), axes=config.axes)
        return _told(image, "Zarr", len(image.levels))
    probe(path, config)
    with open_reader(path, config) as reader:
        found = _told(reader, reader.kind, reader.levels)
        return found | {
            "series": [f"{n}: {one}" for n, one in enumerate(reader.series)],
            "notes": list(reader.notes),
        }


def _told(image: Reader | Image, kind: str, levels: int) -> dict[str, Any]:
    return {
        "kind": kind,
        "axes": image.axes,
        "shape": list(image.shape),
        "channels": image.channels,
        "channel_names": list(image.channel_names),
        "dtype": image.dtype.name,
        "pixel_size": dict(image.pixel_size),
        "unit": image.unit,
        "nodata": list(image.nodata) if isinstance(image.nodata, tuple) else image.nodata,
        "crs": image.georef.crs if image.georef else None,
        "transform": list(image.georef.transform) if image.georef else None,
        "bands": to_json(image.bands),
        "attributes": dict(image.attributes),
        "levels": levels,
        "bytes": prod(image.shape) * image.channels * image.dtype.itemsize,
    }

"""GeoTIFF and other rasters that GDAL reads, one at a time: pixels as stored, with place, bands and mask."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.extras import has, missing
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.projection import crs_of, crs_text, map_unit
from unet_batch.formats.raster import (
    OpenFiles,
    RasterFacts,
    facts_of,
    open_raster,
    opened,
    raster_errors,
    read_bands,
    read_mask,
)
from unet_batch.formats.reader import ArrangedReader, Facts, Reader
from unet_batch.tiling.box import Box

# Tags of GeoTIFF: pixel scale, tie points, transformation, keys.
GEO_TAGS = (33550, 33922, 34264, 34735)


def has_geo_tags(path: Path) -> bool:
    """Whether a TIFF's first page says where it lies."""
    import tifffile  # noqa: PLC0415 - the decoder of the file at hand only

    with tifffile.TiffFile(path) as file:
        tags = file.pages.first.tags
        return any(code in tags for code in GEO_TAGS)


def open_placed(path: Path, config: ReadConfig) -> Reader:
    """A TIFF through GDAL where it says where it lies, else through tifffile."""
    from unet_batch.formats.tiff import open_tiff  # noqa: PLC0415 - a decoder only when needed

    note = ""
    if config.georeference and (has_geo_tags(path) or has_side_files(path)):
        if config.axes is not None or config.series:
            note = "its place on the earth is left out, as `axes` or `series` is given"
        elif not has("rasterio"):
            note = f"left out: {missing('rasterio', 'geo', 'its place on the earth')}"
        elif has_geo_tags(path) or placed_facts(path, config) is not None:
            return open_geotiff(path, config)
    reader = open_tiff(path, config)
    reader.notes += (note,) if note else ()
    return reader


def has_side_files(path: Path) -> bool:
    """Whether files lie beside a raster that may say where it lies."""
    kind = path.suffix[1:]
    worlds = (f"{kind[:1]}{kind[-1:]}w", f"{kind}w", "wld")
    beside = [path.with_name(f"{path.name}.aux.xml"), *(path.with_suffix(f".{world}") for world in worlds)]
    return any(one.exists() or one.with_suffix(one.suffix.upper()).exists() for one in beside)


def placed_facts(path: Path, config: ReadConfig) -> RasterFacts | None:
    """What GDAL says of a file that has a place, by itself or by files beside it; None without a place."""
    with opened(str(path)) as dataset, raster_errors(str(path)):
        facts = facts_of(str(path), dataset)
    return None if facts.transform is None else _with_crs(facts, config)


def beside(path: Path, config: ReadConfig) -> Facts:
    """What files beside a picture say of its place: georef, pixel size and unit of these Facts, and notes."""
    facts = Facts("raster", "yx")
    if not config.georeference or not has_side_files(path):
        return facts
    if not has("rasterio"):
        return replace(facts, notes=(f"left out: {missing('rasterio', 'geo', 'its place on the earth')}",))
    found = placed_facts(path, config)
    if found is None:
        return facts
    if found.georef is None:
        return replace(facts, notes=_notes(replace(found, masked=False)))
    size = found.georef.pixel_size
    return replace(facts, georef=found.georef, pixel_size=size, unit=found.unit, notes=())


def _with_crs(facts: RasterFacts, config: ReadConfig) -> RasterFacts:
    if config.crs is None:
        return facts
    crs = crs_of(config.crs, "crs")
    return replace(facts, crs=crs_text(crs), unit=map_unit(crs))


def open_geotiff(path: str | Path, config: ReadConfig) -> ArrangedReader:
    """A raster in full, or one of its overviews.

    Raises:
        MissingError, FormatError: no such file, or none that can be read.
        InputError: a level, channel or CRS that does not fit.
    """
    where = str(path)
    with opened(where, config.level) as dataset, raster_errors(where):
        facts = facts_of(where, dataset)
    facts = _with_crs(facts, config)
    pixels = _Raster(facts, config.level)
    georef = facts.georef
    return ArrangedReader(
        where,
        pixels,
        Facts(
            kind="GeoTIFF" if georef else "raster",
            axes="cyx",
            channel_names=tuple(band.name for band in facts.bands),
            pixel_size=georef.pixel_size if georef else {},
            unit=facts.unit,
            nodata=None if facts.nodata is None else (facts.nodata, *facts.other_nodata),
            levels=facts.levels,
            notes=_notes(facts),
            georef=georef,
            bands=facts.bands,
        ),
        config,
        valid=pixels.valid if facts.masked else None,
    )


class _Raster:
    """A StoredArray (c, y, x) that each thread opens for itself."""

    def __init__(self, facts: RasterFacts, level: int) -> None:
        self._path, self._level = facts.path, level
        self._files = OpenFiles()
        self.shape = (len(facts.bands), *facts.shape)
        self.dtype = np.dtype(facts.dtype)

    def read(self, box: Box) -> NDArray[Any]:
        """The pixels of the box."""
        bands = list(range(box.start[0], box.stop[0]))
        with raster_errors(self._path):
            return read_bands(self._dataset(), Box(box.start[1:], box.stop[1:]), bands)

    def valid(self, box: Box) -> NDArray[np.bool_]:
        """Where the raster's mask has data."""
        with raster_errors(self._path):
            return read_mask(self._dataset(), box)

    def close(self) -> None:
        """Close what all threads opened."""
        self._files.close()

    def _dataset(self) -> Any:
        return self._files.get(self._path, lambda: open_raster(self._path, self._level))


def _notes(facts: RasterFacts) -> tuple[str, ...]:
    notes = [*facts.notes]
    if facts.crs is None and facts.transform is not None:
        notes.append("has a transform but no CRS, so its place is left out; `crs` names one")
    if facts.other_nodata:
        several = ", ".join(f"{value:g}" for value in (facts.nodata or 0.0, *facts.other_nodata))
        notes.append(f"its bands have several values without data ({several}); each counts in every band")
    if facts.masked:
        notes.append("its mask is kept as the array `count`: 0 where there is no data")
    return tuple(notes)

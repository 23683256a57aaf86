"""Kinds of output, and which one a name asks for."""

from pathlib import Path

from unet_batch.errors import InputError
from unet_batch.products.export.config import ExportConfig, Kind

_SUFFIXES: tuple[tuple[str, Kind], ...] = (
    (".ome.tif", "ome-tiff"),
    (".ome.tiff", "ome-tiff"),
    (".tif", "cog"),
    (".tiff", "cog"),
    (".geojson", "geojson"),
    (".json", "geojson"),
    (".parquet", "parquet"),
    (".geoparquet", "parquet"),
    (".gpkg", "gpkg"),
)


def kind_of(out: str, config: ExportConfig) -> Kind:
    """What to write to ``out``: what the settings say, else what its name ends in; a folder holds parts.

    Raises:
        InputError: a name that says nothing.
    """
    if config.kind != "auto":
        return config.kind
    if out.endswith("/") or not Path(out).suffix:
        return "parts"
    for suffix, kind in _SUFFIXES:
        if out.lower().endswith(suffix):
            return kind
    known = ", ".join(suffix for suffix, _ in _SUFFIXES)
    raise InputError(f"{out}: what to write? end the name in {known} or /, or give --kind")

"""What a YAML file or ``--set key=value`` may say about an export, and the kind that a name asks for."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from unet_batch.config import matching
from unet_batch.engine.config import ExecutionConfig
from unet_batch.errors import InputError

Kind = Literal["cog", "parts", "ome-tiff", "geojson", "parquet", "gpkg"]


class ExportConfig(ExecutionConfig):
    """Settings of one export; those of ``ExecutionConfig`` say who does the blocks.

    Attributes:
        kind: what to write; ``auto`` takes it from the name of the output.
        plane: index of the one plane to export by axis, e.g. ``{z: 3}``; OME-TIFF takes all planes.
        layer: of rasters: which layer of the store.
        tile: of rasters: extent of a TIFF tile in pixels.
        part: of ``parts``: extent of one file in pixels, ``tile`` times a power of two.
        compression: of rasters: ``deflate``, ``deflate:LEVEL``, ``zstd``, ``zstd:LEVEL``, ``lzw``, ``none``.
        classes: of polygons: numbers or names; None is all but one named background.
        instances: of polygons: each object with the border around it, as ``objects`` finds them, in place of
            regions of classes; ``auto`` does so where there is a class named border that ``classes`` does
            not name.
        table: of polygons of objects: the table made with them; None is the one beside the store, of its
            name.
        image: of QuPath's GeoJSON of a coarser level: the image of the masks; None takes the one around
            a store at IMAGE/labels/NAME.
        connectivity: of polygons: pixels that touch by a side (4), or also by a corner (8), are one.
        tolerance: of polygons: corners of triangles smaller than its square, in pixels, are taken away.
        min_area: of polygons: smaller ones are left out, in the unit of their area (m2, um2 or pixels).
        block: of polygons: extent of the blocks that they are traced in; the result does not depend on it
            unless ``tolerance`` is set.
        flavour: of GeoJSON: ``rfc7946`` (longitude and latitude) or ``qupath`` (pixels); ``auto`` is the
            first where the mask knows its place on the earth.
        object_type: of QuPath's GeoJSON: ``detection`` or ``annotation``.
        digits: of RFC 7946 GeoJSON: decimals of a degree.
    """

    kind: Literal["auto"] | Kind = "auto"
    plane: dict[str, Annotated[int, Field(ge=0)]] = Field(default_factory=dict)
    layer: Literal["labels", "probabilities", "confidence"] = "labels"
    tile: Annotated[int, Field(ge=64, le=8192, multiple_of=16)] = 512
    part: Annotated[int, Field(ge=64)] = 16384
    compression: Annotated[
        str,
        matching(
            r"deflate(:([1-9]|1[0-2]))?|zstd(:([1-9]|1\d|2[0-2]))?|lzw|none", "deflate, zstd, lzw or none"
        ),
    ] = "deflate"
    classes: tuple[int | str, ...] | None = Field(default=None, min_length=1)
    instances: Literal["auto"] | bool = "auto"
    table: str | None = None
    image: str | None = None
    connectivity: Literal[4, 8] = 4
    tolerance: Annotated[float, Field(ge=0)] = 0.0
    min_area: Annotated[float, Field(ge=0)] = 0.0
    block: Annotated[int, Field(ge=1, le=8192)] = 2048
    flavour: Literal["auto", "rfc7946", "qupath"] = "auto"
    object_type: Literal["detection", "annotation"] = "detection"
    digits: Annotated[int, Field(ge=1, le=15)] = 8

    @field_validator("part")
    @classmethod
    def _part_of_tiles(cls, part: int, info: object) -> int:
        tile = getattr(info, "data", {}).get("tile", 512)
        ratio = part // tile
        if part % tile or ratio & (ratio - 1):
            raise ValueError(f"must be `tile` ({tile}) times a power of two, not {part}")
        return part


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

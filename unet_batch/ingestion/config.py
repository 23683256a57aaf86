"""What `unet-batch ingest` may be told. Knows no file format."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from unet_batch.config import Config

Extent = PositiveInt | tuple[PositiveInt, PositiveInt] | tuple[PositiveInt, PositiveInt, PositiveInt]
"""One number for all spatial axes, or one per axis."""


class IngestConfig(Config):
    """How a foreign file is read and how its Image is laid out.

    ``None`` means: what the file says, or the store's own default.
    """

    block: Extent | None = None
    """Shard extent in pixels; z y x, or y x: then z is a stack of planes, never halved."""
    chunk: Extent | None = None
    """Inner chunk extent in pixels, given like ``block``."""
    compression: str = "zstd"
    """zstd, zstd:LEVEL, blosc-lz4 or none; always with a checksum."""
    axes: str | None = None
    """Letters of the file's own axes in stored order, of t c z y x; overrides what the file says."""
    series: NonNegativeInt = 0
    """Which image of a file that holds several."""
    level: NonNegativeInt = 0
    """Which level of a pyramidal file becomes full resolution."""
    channels: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] | None = None
    """Channels to keep, in this order."""
    georeference: bool = True
    """Whether the place on the earth that a GeoTIFF states is kept."""
    crs: str | None = None
    """CRS of a raster, such as EPSG:32633; overrides what the file says."""
    pixel_size: dict[str, PositiveFloat] | PositiveFloat | None = None
    """Pixel extent in ``unit``: one number for all spatial axes or {axis: extent}."""
    unit: str | None = None
    """Unit of the pixel size, by OME-Zarr's names (micrometer, meter, ...)."""
    nodata: float | None = None
    """The value of pixels that hold no data."""
    levels: PositiveInt | None = None
    """Levels of the pyramid, full resolution included."""
    workers: NonNegativeInt | None = None
    """Threads that decode and write; 0: the plain loop; None: one per usable core, at most 8."""
    cache_mb: PositiveInt = 512
    """Memory for decoded strips and tiles that neighbouring blocks share."""
    overwrite: bool = False
    """Whether a Zarr store that lies at the output may be replaced."""

    @field_validator("axes")
    @classmethod
    def _known_axes(cls, axes: str | None) -> str | None:
        if axes is None:
            return None
        if len(set(axes)) != len(axes) or not set(axes) <= set("tczyx") or not {"y", "x"} <= set(axes):
            raise ValueError(f"{axes!r} must name each stored axis once, of t c z y x, y and x among them")
        return axes

    @field_validator("channels")
    @classmethod
    def _distinct_channels(cls, channels: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if channels is not None and len(set(channels)) != len(channels):
            raise ValueError(f"{channels} names a channel twice")
        return channels

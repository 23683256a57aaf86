"""ReadConfig: what decides which pixels of a foreign file are read, and how they are understood."""

from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from unet_batch.config import Config

ROWS = 4096


class ReadConfig(Config):
    """How a foreign file is read. ``None`` means: what the file says.

    Every verb that reads foreign files takes these settings, alone or among its own.
    """

    axes: str | None = None
    """Letters of the file's own axes in stored order, of t c z y x; overrides what the file says."""
    series: NonNegativeInt | None = None
    """Which image of a file that holds several; None: the largest."""
    level: NonNegativeInt = 0
    """Which level of a pyramidal file becomes full resolution."""
    channels: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] | None = None
    """Channels to keep, in this order."""
    georeference: bool = True
    """Whether the place on the earth is kept, from the file or .aux.xml, .prj and world files beside it."""
    crs: str | None = None
    """CRS of a raster, such as EPSG:32633; overrides what the file says."""
    canonical: bool = False
    """Whether a volume's axes are flipped and swapped so that they run right, anterior, superior (RAS+)."""
    like: str | None = None
    """A volume on whose grid this one is sampled, linearly, by the places of both in the body."""
    nodata: float | Annotated[tuple[float, ...], Field(min_length=1)] | None = None
    """The value of pixels that hold no data, or several; in images of floats NaN is always among them."""
    cache_mb: PositiveInt = 512
    """Memory for decoded strips and tiles that neighbouring blocks share."""

    @property
    def rows(self) -> int:
        """Rows that are read at once across the image: what a cache of wide strips must hold."""
        return ROWS

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

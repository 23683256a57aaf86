"""What `unet-batch ingest` may be told. Knows no file format."""

from pydantic import PositiveFloat, PositiveInt

from unet_batch.config import Compression
from unet_batch.engine.config import ExecutionConfig
from unet_batch.formats.config import ReadConfig

Extent = PositiveInt | tuple[PositiveInt, PositiveInt] | tuple[PositiveInt, PositiveInt, PositiveInt]
"""One number for all spatial axes, or one per axis."""


class IngestConfig(ReadConfig, ExecutionConfig):
    """How a foreign file is read and how its Image is laid out.

    ``None`` means: what the file says, or the store's own default. Without a ``scheduler`` the ``workers``
    are threads of this process, which share what they decode: one per usable core, at most 8.
    """

    block: Extent | None = None
    """Shard extent in pixels; z y x, or y x: then z is a stack of planes, never halved."""
    chunk: Extent | None = None
    """Inner chunk extent in pixels, given like ``block``."""
    compression: Compression = "zstd"
    """zstd, zstd:LEVEL, blosc-lz4 or none; always with a checksum."""
    pixel_size: dict[str, PositiveFloat] | PositiveFloat | None = None
    """Pixel extent in ``unit``: one number for all spatial axes or {axis: extent}."""
    unit: str | None = None
    """Unit of the pixel size, by OME-Zarr's names (micrometer, meter, ...)."""
    channel_names: tuple[str, ...] | None = None
    """Names of the channels that are kept, in their order; overrides what the file says."""
    levels: PositiveInt | None = None
    """Levels of the pyramid, full resolution included."""

    @property
    def rows(self) -> int:
        """Rows of a block."""
        if self.block is None:
            return super().rows
        return self.block if isinstance(self.block, int) else self.block[-2]

"""What `unet-batch ingest mosaic` may be told. Knows no file format."""

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from unet_batch.config import Compression
from unet_batch.engine.config import ExecutionConfig
from unet_batch.ingestion.config import Extent

Rule = Literal["first", "last", "mean", "median", "best", "feather"]


class MosaicConfig(ExecutionConfig):
    """How scenes become one image. ``None`` means: what the scenes say, or the store's own default.

    Attributes:
        rule: what a pixel takes where scenes overlap. ``first`` and ``last`` go by the order given; the
            others do not depend on it.
        quality: number or name of the band that ``best`` goes by.
        prefer: whether a high or a low quality is better (a cloud probability: ``low``).
        feather: pixels from a scene's rim over which ``feather`` lets it fade.
        resampling: how scenes on other grids are warped; those on the mosaic's grid never are.
        crs: CRS of the mosaic, such as EPSG:32633; else that of most scenes.
        resolution: pixel extent in map units, one number or [x, y]; else that of most scenes.
        bounds: [left, bottom, right, top] in map units; else what the scenes cover.
        like: image whose grid the mosaic takes (a raster or Zarr); instead of the three above.
        scene_crs: CRS of scenes that name none.
        nodata: value of pixels without data in the mosaic.
        collar: scenes' pixels with this value in every band hold no data, where no tag says so.
        count: keep how many scenes saw each pixel, in the array ``count``.
        on_damage: what becomes of a block of a scene that cannot be read: ``quarantine`` sets it aside,
            ``fill`` makes it of the other scenes.
        remote: take scenes from the network that an index or a VRT names; an address (s3://, https://) that
            the caller gives as a scene is always taken.
        bands: numbers or names of the scenes' bands to keep, in this order.
        positions: where fields of a stage scan lie: in a CSV (columns path, x, y), in their OME-XML, or
            ``geo``: scenes on the earth. ``auto`` looks.
        position_unit: of x and y in the CSV.
        flip_y: whether the stage's y grows upwards.
        flip_x: whether the stage's x grows to the left.
        block: shard in pixels, one number or [y, x].
        chunk: inner chunk in pixels, given like ``block``.
        compression: ``zstd``, ``zstd:LEVEL``, ``blosc-lz4`` or ``none``; always with a checksum.
        levels: levels of the pyramid, the full one included.
    """

    rule: Rule = "first"
    quality: NonNegativeInt | str | None = None
    prefer: Literal["high", "low"] = "high"
    feather: PositiveInt = 64
    resampling: Literal["nearest", "bilinear", "cubic"] = "nearest"
    crs: str | None = None
    resolution: PositiveFloat | tuple[PositiveFloat, PositiveFloat] | None = None
    bounds: tuple[float, float, float, float] | None = None
    like: str | None = None
    scene_crs: str | None = None
    nodata: float | None = None
    collar: float | None = None
    count: bool = True
    on_damage: Literal["quarantine", "fill"] = "quarantine"
    remote: bool = False
    bands: Annotated[tuple[NonNegativeInt | str, ...], Field(min_length=1)] | None = None
    positions: Literal["auto", "geo", "csv", "ome"] = "auto"
    position_unit: Literal["micrometer", "pixel"] = "micrometer"
    flip_y: bool = False
    flip_x: bool = False
    block: Extent | None = None
    chunk: Extent | None = None
    compression: Compression = "zstd"
    levels: PositiveInt | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.rule == "best" and self.quality is None:
            raise ValueError("rule `best` needs `quality`: the band that says how good a pixel is")
        if self.like is not None and (self.crs or self.resolution or self.bounds):
            raise ValueError("`like` gives the whole grid; leave `crs`, `resolution` and `bounds` out")
        if self.bounds is not None:
            left, bottom, right, top = self.bounds
            if not (left < right and bottom < top):
                raise ValueError(f"bounds {list(self.bounds)} are empty; write [left, bottom, right, top]")
        return self

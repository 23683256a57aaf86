"""MosaicPlan: all that decides the pixels of a mosaic, frozen, as JSON, hashed. Opens nothing."""

import json
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import ConfigDict

from unet_batch.atomic import atomic_write
from unet_batch.config import Config
from unet_batch.errors import FormatError
from unet_batch.ingestion.layout import COUNT, count_layout, fill_of
from unet_batch.ingestion.mosaic.config import Rule
from unet_batch.ingestion.mosaic.scene import Scene
from unet_batch.store.bands import Band
from unet_batch.store.georef import GeoReference
from unet_batch.store.image_writer import ImageLayout
from unet_batch.store.layout import PyramidLayout
from unet_batch.tiling import BlockGrid

FILE = Path("ledger") / "mosaic.json"


class MergePart(Config):
    """What becomes of pixels that several scenes have; ``quality`` is a position among ``bands``."""

    rule: Rule
    quality: int | None
    prefer: Literal["high", "low"]
    feather: int
    resampling: Literal["nearest", "bilinear", "cubic"]
    collar: float | None
    on_damage: Literal["quarantine", "fill"]


class MosaicPlan(Config):
    """A whole mosaic. ``shape``, ``block`` and ``chunk`` are without channels; ``read`` are bands of scenes.

    ``kind`` says who reads a scene: GDAL (``geo``) or the readers of microscopy files (``stage``).
    """

    model_config = ConfigDict(ser_json_inf_nan="strings")  # null would bring NaN back as no value at all

    version: Literal[1] = 1
    kind: Literal["geo", "stage"]
    scenes: tuple[Scene, ...]
    merge: MergePart
    axes: str
    shape: tuple[int, ...]
    block: tuple[int, ...]
    chunk: tuple[int, ...]
    dtype: str
    read: tuple[int, ...]
    bands: tuple[Band, ...]
    nodata: float | None
    count: bool
    georef: GeoReference | None
    pixel_size: dict[str, float]
    unit: str | None
    compression: str
    levels: int | None

    @property
    def grid(self) -> BlockGrid:
        """The blocks."""
        return BlockGrid(self.shape, self.block)

    @property
    def image_layout(self) -> ImageLayout:
        """The image that the plan fills."""
        pyramid = PyramidLayout(
            axes=self.axes,
            shape=self.shape,
            channels=len(self.bands),
            dtype=self.dtype,
            block=self.block,
            chunk=self.chunk,
            dims=2,
            fill=fill_of(self.nodata, np.dtype(self.dtype)),
            compression=self.compression,
            levels=self.levels,
            georef=self.georef,
        )
        return ImageLayout(
            pyramid,
            pixel_size=self.pixel_size,
            unit=self.unit,
            channel_names=tuple(band.name for band in self.bands),
            nodata=self.nodata,
            bands=self.bands,
            nodata_mask=COUNT if self.count else None,
            name="mosaic",
            attributes={"mosaic": {"scenes": len(self.scenes), **self.merge.model_dump(mode="json")}},
        )

    @property
    def count_layout(self) -> ImageLayout:
        """How many scenes saw each pixel."""
        return count_layout(self.image_layout, "uint8" if len(self.scenes) < 256 else "uint16")

    def write(self, store: str) -> None:
        """Keep the plan in ``store``."""
        path = Path(store) / FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, self.model_dump_json())

    @classmethod
    def read_from(cls, store: str) -> "MosaicPlan | None":
        """The plan that ``store`` was begun with; None where there is none.

        Raises:
            FormatError: a plan that cannot be used.
        """
        path = Path(store) / FILE
        if not path.is_file():
            return None
        try:
            return cls.model_validate(json.loads(path.read_text(encoding="utf-8")))
        except ValueError:
            raise FormatError(f"{path}: broken plan of a mosaic; remove the store and begin anew") from None

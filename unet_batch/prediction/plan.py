"""Plan: all that decides the bytes of a mask store, frozen, as JSON, hashed. Imports no torch, runs nothing.

Where the work is done (workers, packets, paths) is not in it: that may change between a run and its resume.
"""

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import model_validator

from unet_batch.config import Config
from unet_batch.formats.image import is_foreign
from unet_batch.inference.views import Averaging
from unet_batch.models.normalise import Affine
from unet_batch.models.runtime import Backend, Precision, Runtime
from unet_batch.models.spec import ModelSpec
from unet_batch.prediction.config import SkipBackground
from unet_batch.store.level import Ratio, View
from unet_batch.tiling import BlockGrid, Box, TileGrid


@dataclass(frozen=True, slots=True)
class Choice:
    """What ``auto`` became: by trial, by an earlier plan, or by assumption.

    Attributes:
        device: ``cpu`` or ``cuda``.
        precision: as settings have it.
        backend: as settings have it.
        tile: extent on the network's axes.
        batch: tiles per call.
        rate: pixels of output per second and worker, None where nothing was measured.
        threads: of a network call where its last bits depend on them; None takes the setting or all cores.
        remarks: what the trial saw of the networks that a person should know.
    """

    device: Literal["cpu", "cuda"]
    precision: Precision
    backend: Backend
    tile: tuple[int, ...]
    batch: int
    rate: float | None = None
    threads: int | None = None
    remarks: tuple[str, ...] = ()


class ImagePart(Config):
    """Which pixels are read: an image by content, one level of it, some of its channels.

    ``series``, ``stored_axes`` and ``resample`` are how it is opened; the axes of a foreign file only.
    """

    identity: str
    axes: str
    level: int
    shape: tuple[int, ...]
    dtype: str
    channels: tuple[int, ...]
    nodata: float | int | tuple[float, ...] | None
    nodata_mask: str | None
    series: int | None = None
    stored_axes: str | None = None
    resample: Ratio | None = None

    def view_of(self, path: str) -> View:
        """How the image, which lies at ``path``, is opened."""
        return View(self.stored_axes if is_foreign(path) else self.axes, self.series, self.resample)


class ModelPart(Config):
    """Which networks look at them, by content; more than one are averaged."""

    hashes: tuple[str, ...]
    spec: ModelSpec


class GridPart(Config):
    """How the image is cut; one entry per axis but the channels."""

    block: tuple[int, ...]
    tile: tuple[int, ...]
    step: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    multiple: tuple[int, ...]


class ComputePart(Config):
    """The arithmetic.

    ``threads``: of a network call, where its last bits depend on their number (torch on CPUs, and means over
    a tile); None elsewhere.
    ``nodata_mean``: each channel's mean, where missing pixels are filled with it.
    """

    device: Literal["cpu", "cuda"]
    precision: Precision
    backend: Backend
    batch: int
    threads: int | None
    merge: Literal["crop", "blend"]
    border: Literal["mirror", "edge", "constant"]
    tta: Averaging
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    nodata_fill: Literal["mirror", "mean", "keep"] = "mirror"
    nodata_mean: tuple[float, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _of_before(cls, values: Any) -> Any:
        """Stores begun before plans kept ``threads`` only say whether these were one."""
        if isinstance(values, dict) and "single_thread" in values:
            return {"threads": None} | {key: kept for key, kept in values.items() if key != "single_thread"}
        return values


class SelectPart(Config):
    """Which blocks and pixels are computed at all."""

    roi: tuple[tuple[int, int], ...]
    skip_background: SkipBackground | Literal["tissue"] | None


class OutputPart(Config):
    """What is written and how."""

    probabilities: bool
    confidence: bool
    levels: int | None
    chunk: int
    compression: str


class Plan(Config):
    """A whole prediction."""

    version: Literal[1] = 1
    image: ImagePart
    model: ModelPart
    grid: GridPart
    compute: ComputePart
    select: SelectPart
    output: OutputPart

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the plan's JSON; two plans with one hash give the same bytes."""
        return hashlib.sha256(json.dumps(self.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()

    @cached_property
    def blocks(self) -> BlockGrid:
        """What is scheduled, written and resumed."""
        return BlockGrid(self.image.shape, self.grid.block)

    @cached_property
    def tiles(self) -> TileGrid:
        """What the network is called with."""
        part = self.grid
        return TileGrid(self.image.shape, part.tile, part.step, part.before, part.after, part.multiple)

    @property
    def spec(self) -> ModelSpec:
        """The networks' common description."""
        return self.model.spec

    @property
    def affine(self) -> Affine:
        """Normalisation of the channels used."""
        return Affine(self.compute.offset, self.compute.scale)

    @property
    def region(self) -> Box:
        """What is computed, in pixels."""
        return Box(tuple(a for a, _ in self.select.roi), tuple(b for _, b in self.select.roi))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one network call: (N, C, *spatial)."""
        return (self.compute.batch, self.spec.in_channels, *self.tiles.input_shape[-self.spec.dims :])

    def runtime(self, device: str, threads: int | None, calls: int = 1) -> Runtime:
        """How networks run on ``device``; where results depend on the number of threads, it is the plan's."""
        compute = self.compute
        return Runtime(device, compute.precision, compute.backend, compute.threads or threads, calls)

    @property
    def exact(self) -> bool:
        """Whether the stitched result equals one untiled pass, to rounding."""
        return self.spec.receptive_field().exact and self.compute.merge == "crop"

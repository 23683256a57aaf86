"""What a YAML file or ``--set key=value`` may say about a prediction."""

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from unet_batch.colours import Colours
from unet_batch.config import Compression, Config, DeviceName
from unet_batch.engine.config import ExecutionConfig
from unet_batch.inference.views import Averaging

Auto = Literal["auto"]
Extent = Annotated[int, Field(ge=1)]
Range = tuple[int, int]


def _per_axis(value: object) -> object:
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


Extents = Annotated[tuple[Extent, ...], BeforeValidator(_per_axis)]


class SkipBackground(Config):
    """A cheap test on a coarse level: blocks in which no pixel passes are skipped before any network work.

    Attributes:
        method: ``saturation`` (max - min over channels, relative to the max; stained slides on white glass)
            or ``variance`` (of the mean over channels, in windows of 4 x 4 coarse pixels; fluorescence).
        threshold: a block is foreground where the measure exceeds this anywhere.
        pixels: roughly how many pixels of level 0 one tested pixel stands for, per axis.
    """

    method: Literal["saturation", "variance"]
    threshold: float = Field(ge=0)
    pixels: int = Field(default=16, ge=1)


class NodataMask(Config):
    """A Zarr array of the image's shape (without channels): zero where there is no data."""

    mask: str


class PredictConfig(ExecutionConfig):
    """Settings of one prediction, beside who does its blocks; ``auto`` is decided once, in the plan.

    Attributes:
        block: output shard in pixels, one number or one per spatial axis; the unit of writing and resuming.
        tile: pixels that one network input answers for, one number or one per spatial axis.
        batch: tiles per network call.
        precision: arithmetic of the network.
        backend: ``eager``, ``compile`` (torch), ``fused`` (eager, with each convolution, bias and ReLU in one
            kernel; CUDA) or ``openvino`` (CPU).
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        merge: ``crop`` (exact networks) or ``blend`` overlapping tiles by weights.
        overlap: share of a tile that overlaps the next when blending.
        border: what networks see past the image's edge.
        nodata: value that means no data (in all channels), several, or a mask; None takes the image's own. In
            images of floats NaN is always among them.
        nodata_fill: what networks see of missing pixels: data mirrored at the rim as at the image's border,
            the image's mean, or the pixels as they are (``keep``). None of them is classified.
        skip_background: ``tissue`` (found by itself on stained slides), or a test with a threshold; both
            look at a coarse level and skip blocks that have none.
        roi: [start, stop] in pixels for each axis but the channels; only this is computed.
        channels: numbers or names of the image's channels, in the order that the network takes.
        level: level of the image's pyramid to predict on; ``auto`` is the one whose pixels have the size of
            those that the network was trained on (its ``pixel_size``), 0 where the network does not know it.
        series: which image of a foreign file that holds several; None takes the largest.
        pixel_size: side of a pixel of level 0 in micrometres, where the image says nothing or wrong.
        resample: ``auto``: where no level is within 5 % of the network's pixel size, the next finer one is
            resampled as it is read; ``always``: also within 5 %; ``never``: the nearest level as it is.
        probabilities: keep all class probabilities as uint8 (value / 254; 255 is no data).
        confidence: keep the probability of the winning class in the same way.
        tta: average over flips of every tile (``true``), or over flips and quarter turns in the plane of the
            last two axes (``turns``), which needs tiles that are as high as wide.
        colours: colour by class name, before those of the network; masks, exports and pictures show it.
        levels: levels of the mask's pyramid, the full one included.
        chunk: inner chunk of a shard in pixels.
        compression: ``zstd``, ``zstd:LEVEL``, ``blosc-lz4`` or ``none``; always with a checksum.
    """

    block: Auto | Extents = "auto"
    tile: Auto | Extents = "auto"
    batch: Auto | Extent = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    backend: Literal["auto", "eager", "fused", "compile", "openvino"] = "auto"
    device: DeviceName = "auto"
    merge: Literal["auto", "crop", "blend"] = "auto"
    overlap: float = Field(default=0.5, gt=0, lt=1)
    border: Literal["mirror", "edge", "constant"] = "mirror"
    nodata: float | int | tuple[float, ...] | NodataMask | None = None
    nodata_fill: Literal["mirror", "mean", "keep"] = "mirror"
    skip_background: SkipBackground | Literal["tissue"] | None = None
    roi: tuple[Range, ...] | None = None
    channels: tuple[int | str, ...] | None = Field(default=None, min_length=1)
    level: Auto | Annotated[int, Field(ge=0)] = "auto"
    series: Annotated[int, Field(ge=0)] | None = None
    pixel_size: float | None = Field(default=None, gt=0)
    resample: Literal["auto", "never", "always"] = "auto"
    probabilities: bool = False
    confidence: bool = False
    tta: Averaging = False
    colours: Colours = ()
    levels: Auto | Annotated[int, Field(ge=1, le=32)] = "auto"
    chunk: Extent | None = None
    compression: Compression = "zstd"

    @model_validator(mode="after")
    def _ranges_are_not_empty(self) -> Self:
        for start, stop in self.roi or ():
            if not 0 <= start < stop:
                raise ValueError(
                    f"roi range [{start}, {stop}] is empty; write [start, stop] with start < stop"
                )
        return self

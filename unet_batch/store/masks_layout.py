"""MasksLayout: what a Masks store holds and how it is laid out. Plain values; touches no files."""

import math
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from unet_batch.errors import FormatError, InputError
from unet_batch.store import ome
from unet_batch.store.georef import GeoReference
from unet_batch.store.layer import Halve
from unet_batch.store.layout import PyramidLayout
from unet_batch.store.pyramid import halve_labels, halve_mean
from unet_batch.tiling import BlockGrid

LABELS = "labels"
# uint8 holds classes 0 to 250 beside its fill 255 with room to spare; from 251 classes on, uint16.
_MOST_UINT8_CLASSES = 250
_QUANTISED_FILL = 255
_NO_INSTANCE = 2**32 - 1  # no object has this number, so 0 votes like any other label
_DTYPES = {"regression": "float32", "instances": "uint32"}
_SINGLE = ("multiclass", "instances")
Kind = Literal["multiclass", "multilabel", "regression", "instances"]


@dataclass(frozen=True, slots=True)
class MasksLayout:
    """A new mask store. ``axes``, shape, block and chunk leave the channels out; ``dims`` are halved.

    multiclass: one class per pixel. multilabel: a channel of 0 and 1 per name. regression: a float32
    channel per name. instances: one uint32 object number per pixel, 0 where there is none. ``names`` are
    classes or channels. Fill, "no data": 255, 65535 or NaN; of instances 0.
    """

    kind: Kind
    axes: str
    shape: tuple[int, ...]
    block: tuple[int, ...]
    chunk: tuple[int, ...]
    dims: int
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int, int], ...] = ()
    pixel_size: dict[str, float] = field(default_factory=dict)
    unit: str | None = None
    compression: str = "zstd"
    levels: int | None = None
    probabilities: bool = False
    confidence: bool = False
    name: str = "masks"
    georef: GeoReference | None = None

    def __post_init__(self) -> None:
        if "c" in self.axes:
            raise InputError(f"axes `{self.axes}` of masks: leave c out, it follows from the kind")
        if not self.names or len(self.names) >= 65535:
            raise InputError(f"masks need 1 to 65534 class or channel names, got {len(self.names)}")
        if self.colours and len(self.colours) != len(self.names):
            raise InputError(
                f"{len(self.colours)} colours for {len(self.names)} names; give one each or none"
            )
        if self.kind in ("regression", "instances") and (self.probabilities or self.confidence):
            raise InputError(f"{self.kind}: has no probabilities or confidence; leave them off")
        self.layer(LABELS)

    @classmethod
    def parse(cls, values: object, where: str) -> "MasksLayout":
        """What ``asdict`` of a layout gave, after a trip through JSON."""
        if values is None:
            raise FormatError(f"{where}: Zarr, but no mask store of this program; give what predict wrote")
        try:
            return TypeAdapter(cls).validate_python(values)
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            reason = f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
        except InputError as error:
            reason = str(error)
        raise FormatError(f"{where}: no mask store of this program ({reason}); check the path")

    @property
    def blocks(self) -> BlockGrid:
        """What is written, checksummed and resumed as one."""
        return BlockGrid(self.shape, self.block)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The layers, in the order of the checksum."""
        extra = [name for name in ("confidence", "probabilities") if getattr(self, name)]
        return (LABELS, *extra)

    @property
    def dtype(self) -> str:
        """Type of the labels."""
        if self.kind in _DTYPES:
            return _DTYPES[self.kind]
        return "uint16" if self.kind == "multiclass" and len(self.names) > _MOST_UINT8_CLASSES else "uint8"

    @property
    def fill(self) -> float:
        """Value of a label without data."""
        return {"float32": math.nan, "uint32": 0, "uint16": 65535, "uint8": 255}[self.dtype]

    @property
    def channels(self) -> int:
        """Channels of the labels; 1 without a channel axis in the store."""
        return 1 if self.kind in _SINGLE else len(self.names)

    def layer(self, name: str) -> PyramidLayout:
        """How a layer is laid out."""
        single = (name == LABELS and self.kind in _SINGLE) or name == "confidence"
        return PyramidLayout(
            axes=self.axes if single else _with_c(self.axes),
            shape=self.shape,
            channels=1 if single else len(self.names),
            dtype=self.dtype if name == LABELS else "uint8",
            block=self.block,
            chunk=self.chunk,
            dims=self.dims,
            fill=self.fill if name == LABELS else _QUANTISED_FILL,
            compression=self.compression,
            levels=self.levels,
            georef=self.georef,
        )

    def halve(self, name: str) -> Halve:
        """How a layer, (C, *others), is halved: classes by mode, values by mean."""
        axes = range(-self.dims, 0)
        if name == LABELS and self.kind == "instances":
            return partial(halve_labels, axes=axes, fill=_NO_INSTANCE)
        if name == LABELS and self.kind != "regression":
            return partial(halve_labels, axes=axes, fill=int(self.fill))
        return partial(halve_mean, axes=axes, nodata=self.layer(name).fill)

    def metadata(self, name: str, source: str | None) -> dict[str, Any]:
        """The ``ome`` attribute of a layer's group; ``source`` is the image it belongs to."""
        layer = self.layer(name)
        factors = [dict(zip(self.axes, layer.factor(k), strict=True)) for k in range(layer.level_count)]
        title = self.name if name == LABELS else name
        entry = ome.multiscales(title, layer.axes, self.pixel_size, self.unit, factors)
        colours = self.colours or ome.class_colours(self.names)
        if name == LABELS and self.kind == "multiclass":
            entry["image-label"] = ome.image_label(self.names, colours, int(self.fill), source)
        elif name == LABELS and self.kind == "multilabel":
            two = ome.class_colours(("background", "present"))
            entry["image-label"] = ome.image_label(("absent", "present"), two, int(self.fill), source)
        elif name == LABELS and self.kind == "instances":
            entry["image-label"] = ome.instance_label(source)
        if "c" in layer.axes:
            high = 1.0 if name == LABELS else float(_QUANTISED_FILL - 1)
            entry["omero"] = ome.omero(self.names, ome.channel_colours(len(self.names)), 0.0, high)
        return entry

    def place(self, name: str) -> dict[str, Any]:
        """What the attributes of a layer's group say of where it lies on the earth."""
        by_mode = name == LABELS and self.kind != "regression"
        return self.layer(name).group_attributes("mode" if by_mode else "average")


def _with_c(axes: str) -> str:
    return "tc" + axes[1:] if axes.startswith("t") else "c" + axes

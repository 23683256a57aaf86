"""Layers: what a page shows of each store or file, as neuroglancer's JSON.

Sources: https://neuroglancer-docs.web.app/json/api/ (layers, coordinate transforms) and, for the tables of
segments, https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/segment_properties.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import Any

import numpy as np

from unet_batch.store import ome
from unet_batch.store.image import Image
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import LABELS
from unet_batch.store.units import length
from unet_batch.viewing.virtual import VirtualPyramid

Json = dict[str, Any]
_INVISIBLE = 0
_SWITCHED_ON = 4  # channels that are shown at first
_THIN = (
    "void main() { setColor(defaultColor()); setPolyEndpointMarkerSize(0.0, 0.0); "
    "setPolyEndpointMarkerBorderWidth(0.0, 0.0); setPolyLineWidth(1.5); }"
)


@dataclass(frozen=True, slots=True)
class Layer:
    """One entry in the page's list of layers."""

    name: str

    @property
    def store(self) -> Path | None:
        """The folder with its chunks; None for layers without any."""
        return None

    @property
    def virtual(self) -> VirtualPyramid | None:
        """Its chunks where they are computed as they are asked for."""
        return None

    @property
    def properties(self) -> Json | None:
        """Names and measures of its segments; None where there are none."""
        return None

    def json(self, place: str) -> Json:
        """The layer, whose data the server has under ``place``, a URL that ends with a slash."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PixelLayer(Layer):
    """One channel of an image, of probabilities or of the values of a regression, drawn in its colour.

    Channels are layers of their own, added up: the client draws several at once only where a chunk has them
    all.
    """

    image: Image
    channel: int
    shown: tuple[float, float]
    colour: str
    visible: bool = True

    @classmethod
    def of(
        cls, image: Image, name: str, contrast: tuple[float, float], *, visible: bool = True
    ) -> "list[PixelLayer]":
        """A layer per channel, the first four switched on if ``visible``.

        Black and white are the percentiles ``contrast``; 8-bit grey and colours are shown as they are.
        """
        if image.dtype == np.uint8 and image.channels in (1, 3):
            ranges = [(0.0, 255.0)] * image.channels
        else:
            ranges = [_range(low, high) for low, high in image.percentiles(contrast)]
        own = ome.channel_colours(image.channels)
        names = image.channel_names or tuple(f"channel {k}" for k in range(image.channels))
        titles = [name if image.channels == 1 else f"{name}: {_clean(one)}" for one in names]
        return [
            cls(titles[k], image, k, ranges[k], _hex(own[k]), visible and k < _SWITCHED_ON)
            for k in range(image.channels)
        ]

    @property
    def store(self) -> Path:
        """The folder with its chunks."""
        return Path(self.image.path)

    def json(self, place: str) -> Json:
        """An image layer of one channel, added to those below it."""
        source = {"url": f"{place}|zarr:", "transform": {"outputDimensions": dimensions(self.image)}}
        chosen = {"localDimensions": {"c'": [1, ""]}, "localPosition": [self.channel]}
        low, high = self.shown
        return {
            "type": "image",
            "name": self.name,
            "source": source,
            "opacity": 1,
            "blend": "additive",
            "shader": f"#uicontrol invlerp contrast(range=[{low:.6g}, {high:.6g}])\n"
            f'#uicontrol vec3 colour color(default="{self.colour}")\n'
            "void main() { emitRGB(colour * contrast()); }\n",
            "visible": self.visible,
            **(chosen if "c" in self.image.axes else {}),
        }


@dataclass(frozen=True, slots=True)
class LabelLayer(Layer):
    """Classes, or numbered objects with a ``table`` of their measures, over the image ``below``."""

    masks: Masks
    opacity: float
    below: Image | None = None
    table: Mapping[str, Sequence[Any]] | None = None

    @property
    def store(self) -> Path:
        """The folder with its chunks."""
        return Path(self.masks.path)

    @property
    def properties(self) -> Json | None:
        """Class names, or what is known of each object; searched and sorted in the page."""
        if self.table is not None:
            return segment_properties(self.table)
        if self.masks.layout.kind != "multiclass":
            return None
        names = self.masks.layout.names
        return segment_properties({"id": range(len(names)), "label": list(names)})

    def json(self, place: str) -> Json:
        """A segmentation layer; of classes all but the transparent ones are shown."""
        layout = self.masks.layout
        pixels = {"url": f"{place}|zarr:", "transform": self._transform()}
        sources: list[Any] = [pixels]
        if self.properties is not None:
            sources.append(f"{place}properties/|neuroglancer-precomputed:")
        entry: Json = {
            "type": "segmentation",
            "name": self.name,
            "source": sources,
            "selectedAlpha": self.opacity,
            "notSelectedAlpha": 0,
        }
        if layout.kind == "multiclass":
            colours = layout.colours or ome.class_colours(layout.names)
            shown = {str(k): _hex(colour) for k, colour in enumerate(colours) if colour[3] != _INVISIBLE}
            entry |= {"segments": list(shown), "segmentColors": shown, "hideSegmentZero": "0" not in shown}
        return entry

    def _transform(self) -> Json:
        own = Image.open(self.masks.path)
        if self.below is None or self.below.pixel_size or own.shape == self.below.shape:
            return {"outputDimensions": dimensions(own)}
        # Without a pixel size only the shapes say how many pixels of the image one of the masks covers.
        out = {axis: value for axis, value in dimensions(self.below).items() if axis != "c'"}
        ratios = [n / m for n, m in zip(self.below.shape, own.shape, strict=True)]
        return {"outputDimensions": out, "matrix": _matrix(ratios, [(r - 1) / 2 for r in ratios])}


@dataclass(frozen=True, slots=True)
class VirtualLayer(Layer):
    """Labels that are computed as they are asked for; ``colours`` and ``names`` by label, 0 is not shown."""

    pyramid: VirtualPyramid
    colours: Mapping[int, str]
    names: Mapping[int, str]
    opacity: float

    @property
    def virtual(self) -> VirtualPyramid:
        """Its chunks."""
        return self.pyramid

    @property
    def properties(self) -> Json:
        """The names of the labels."""
        return segment_properties({"id": list(self.names), "label": list(self.names.values())})

    def json(self, place: str) -> Json:
        """A segmentation layer of the labels that have a colour."""
        out = {axis: value for axis, value in dimensions(self.pyramid.like).items() if axis != "c'"}
        shown = {str(label): colour for label, colour in self.colours.items()}
        pixels = {"url": f"{place}|zarr:", "transform": {"outputDimensions": out}}
        return {
            "type": "segmentation",
            "name": self.name,
            "source": [pixels, f"{place}properties/|neuroglancer-precomputed:"],
            "segments": list(shown),
            "segmentColors": shown,
            "selectedAlpha": self.opacity,
            "notSelectedAlpha": 0,
        }


@dataclass(frozen=True, slots=True)
class OutlineLayer(Layer):
    """Polygons from a file, as lines in the pixels of ``image``: (N, 2) arrays of y, x, each closed."""

    image: Image
    rings: tuple[tuple[Any, str], ...]

    def json(self, place: str) -> Json:  # noqa: ARG002 - the lines are in the page's state
        """An annotation layer with a polyline for each ring and its class as description."""
        axes = list(dimensions(self.image))
        flat = {"y", "x"}
        annotations = []
        for number, (points, text) in enumerate(self.rings):
            at = [[*(0.5 for axis in axes if axis not in flat and axis != "c'"), *p] for p in points.tolist()]
            annotations.append({"type": "polyline", "id": str(number), "points": at, "description": text})
        found = {axis: value for axis, value in dimensions(self.image).items() if axis != "c'"}
        return {
            "type": "annotation",
            "name": self.name,
            "source": {"url": "local://annotations", "transform": {"outputDimensions": found}},
            "annotationColor": "#ffd400",
            "shader": _THIN,
            "annotations": annotations,
        }


def dimensions(image: Image) -> dict[str, list[Any]]:
    """Axis -> [extent of a pixel at level 0, unit], in stored order, as neuroglancer reads the store."""
    unit = length(image.unit)
    first = image.at_level(0)
    found: dict[str, list[Any]] = {}
    for axis in image.axes:
        if axis == "c":
            found["c'"] = [1, ""]
        elif axis in first.pixel_size and unit is not None and axis != "t":
            found[axis] = [float(first.pixel_size[axis]) * unit.micrometres * 1e-6, "m"]
        else:
            found[axis] = [float(first.pixel_size.get(axis, 1.0)), ""]
    return found


def segment_properties(table: Mapping[str, Sequence[Any]]) -> Json:
    """The ``info`` of segments: ``id``, an optional ``label`` and ``class``, and numbers by column name."""
    count = len(table["id"])
    properties: list[Json] = []
    if "label" in table:
        properties.append({"id": "label", "type": "label", "values": [str(v) for v in table["label"]]})
    if "class" in table:
        names = sorted({str(v) for v in table["class"]})
        tags = [[names.index(str(v))] for v in table["class"]]
        properties.append({"id": "class", "type": "tags", "tags": names, "values": tags})
    for name in table:
        if name not in ("id", "label", "class"):
            values = [0.0 if v is None or isnan(v) else float(v) for v in table[name]]
            properties.append({"id": name, "type": "number", "data_type": "float32", "values": values})
    ids = [str(int(v)) for v in table["id"]]
    assert len(ids) == count
    return {"@type": "neuroglancer_segment_properties", "inline": {"ids": ids, "properties": properties}}


def extra_layers(masks: Masks, contrast: tuple[float, float]) -> list[PixelLayer]:
    """Probabilities and confidence of a mask store, switched off at first."""
    found = []
    for name in masks.layout.layer_names:
        if name != LABELS:
            image = Image.open(f"{masks.path}/{name}")
            found += PixelLayer.of(image, f"{Path(masks.path).name} {name}", contrast, visible=False)
    return found


def _matrix(scales: Sequence[float], shifts: Sequence[float]) -> list[list[float]]:
    """An affine transform that stretches and shifts each axis."""
    rows = [[0.0] * len(scales) + [shift] for shift in shifts]
    for k, scale in enumerate(scales):
        rows[k][k] = float(scale)
    return rows


def _range(low: float, high: float) -> tuple[float, float]:
    if not (np.isfinite(low) and np.isfinite(high)):
        return 0.0, 1.0
    return float(low), float(high if high > low else low + 1)


def _hex(colour: Sequence[int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour[:3])


def _clean(text: str) -> str:
    """A name from a store, for display."""
    return "".join(c for c in text if c.isprintable())[:80]

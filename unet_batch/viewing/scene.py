"""Scene: what a page shows, found from the paths that a person names, and its state as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from unet_batch.errors import FormatError, InputError, MissingError
from unet_batch.ingestion.annotations.config import AnnotationsConfig
from unet_batch.ingestion.annotations.geojson import WORLD, read_geojson
from unet_batch.ingestion.annotations.place import Place
from unet_batch.products.objects.table import read_columns
from unet_batch.products.sources import image_beside
from unet_batch.store.containment import inside
from unet_batch.store.image import Image
from unet_batch.store.io_errors import is_local
from unet_batch.store.labels import listed
from unet_batch.store.masks import Masks
from unet_batch.viewing.config import ViewConfig
from unet_batch.viewing.layers import (
    Json,
    LabelLayer,
    Layer,
    OutlineLayer,
    PixelLayer,
    VirtualLayer,
    dimensions,
    extra_layers,
)
from unet_batch.viewing.virtual import difference

_TABLE, _OUTLINES = (".parquet",), (".geojson", ".json")
_SCREEN = (1200, 800)  # pixels, width and height, that an image fills at first


@dataclass(frozen=True, slots=True)
class Scene:
    """Layers, the lowest first, over the pixels of ``reference``."""

    reference: Image
    layers: tuple[Layer, ...]
    config: ViewConfig

    @classmethod
    def open(cls, paths: Sequence[str | Path], config: ViewConfig, *, differing: bool = False) -> "Scene":
        """What is at ``paths``: images, masks, objects with their table (after them), GeoJSON outlines.

        An image brings its labels along, and masks at IMAGE/labels/NAME their image. ``differing`` adds a
        layer that marks where the last two masks of classes differ.

        Raises:
            MissingError, FormatError: nothing there, or nothing that can be shown.
            InputError: things that do not belong together, or a store that is not on this machine.
        """
        found = _Found(config)
        for path in paths:
            found.add(str(path))
        if found.reference is None:
            raise InputError(f"{paths[0]}: an outline or a table alone; give the image that it belongs to")
        layers = [*found.images, *found.masks, *(found.difference() if differing else ())]
        layers += found.outlines(found.reference)
        if config.position is not None and len(config.position) != len(found.reference.shape):
            axes = found.reference.axes.replace("c", "")
            raise InputError(
                f"`position`: {len(config.position)} numbers; give {len(axes)}, for the axes {axes}"
            )
        return cls(found.reference.at_level(0), tuple(_distinct(layers)), config)

    def state(self, places: Sequence[str]) -> Json:
        """The page's state; the server has the data of each layer under its URL of ``places``."""
        extents = dimensions(self.reference)
        axes = [axis for axis in ("x", "y", "z", "t") if axis in extents]
        shape = dict(zip(self.reference.axes.replace("c", ""), self.reference.shape, strict=True))
        fill = max(n / m for n, m in zip((shape["x"], shape["y"]), _SCREEN, strict=True))
        zoom = self.config.zoom
        return {
            "title": Path(self.reference.path).name,
            "dimensions": {axis: extents[axis] for axis in axes},
            "displayDimensions": [axis for axis in axes if axis != "t"],
            "position": self._position(axes, shape),
            "crossSectionScale": fill if zoom is None else 1 / zoom,
            "projectionScale": max(shape["x"], shape["y"]) * 1.5,
            "layers": [layer.json(place) for layer, place in zip(self.layers, places, strict=True)],
            "showAxisLines": False,
            "showDefaultAnnotations": False,
            "crossSectionBackgroundColor": "#000000",
            "layout": self._layout(shape),
            "selectedLayer": {"layer": self.layers[-1].name, "visible": False},
        }

    def _position(self, axes: Sequence[str], shape: Mapping[str, int]) -> list[float]:
        """Of the middle of the panels; the centre of the first pixel is 0, as in the client."""
        given = self.config.position
        if given is not None:
            at = dict(zip(shape, given, strict=True))
            return [at[axis] for axis in axes]
        return [float((shape[axis] - 1) // 2) if axis in "zt" else (shape[axis] - 1) / 2 for axis in axes]

    def _layout(self, shape: Mapping[str, int]) -> str:
        if self.config.layout != "auto":
            return self.config.layout
        return "4panel" if shape.get("z", 1) > 1 else "xy"


class _Found:
    """What the paths have held so far."""

    def __init__(self, config: ViewConfig) -> None:
        self.config = config
        self.images: list[Layer] = []
        self.masks: list[Layer] = []
        self.reference: Image | None = None
        self._files: list[Path] = []
        self._shown: set[str] = set()

    def add(self, path: str) -> None:
        """Take in one path."""
        if not is_local(path):
            raise InputError(f"{path}: not on this machine; the viewer serves local stores, so copy it first")
        suffix = Path(path).suffix.lower()
        if suffix in _TABLE:
            self._table(Path(path))
        elif suffix in _OUTLINES and Path(path).is_file():
            self._files.append(Path(path))
        elif not Path(path).exists():
            raise MissingError(f"{path}: no such file or folder; check the path")
        else:
            self._store(path)

    def outlines(self, image: Image) -> list[Layer]:
        """The GeoJSON files as lines over ``image``."""
        return [_outline(path, image, self.config.most_polygons) for path in self._files]

    def difference(self) -> list[Layer]:
        """Where the last two masks of classes differ, in red."""
        classes = [
            layer
            for layer in self.masks
            if isinstance(layer, LabelLayer) and layer.masks.layout.kind == "multiclass"
        ]
        if len(classes) < 2:
            raise InputError("a difference needs two masks of classes; give both")
        one, other = classes[-2:]
        pyramid = difference(one.masks, other.masks)
        return [
            VirtualLayer(f"{one.name} against {other.name}", pyramid, {1: "#ff2020"}, {1: "different"}, 0.8)
        ]

    def _store(self, path: str) -> None:
        if str(Path(path).resolve()) in self._shown:
            return
        try:
            masks = Masks.open(path)
        except FormatError:
            self._image(Image.open(path))
            return
        below = image_beside(masks)
        if below is not None and not self.images:
            self._image(below.at_level(0), labels=False)
        self._of_masks(masks)

    def _image(self, image: Image, *, labels: bool = True) -> None:
        self._shown.add(str(Path(image.path).resolve()))
        self.images += PixelLayer.of(image, Path(image.path).name, self.config.contrast)
        self.reference = self.reference or image
        for name in listed(image.path) if labels else ():
            folder = inside(image.path, f"labels/{name}")
            if Path(folder).exists():
                self._store_of_labels(folder)

    def _store_of_labels(self, path: str) -> None:
        try:
            self._of_masks(Masks.open(path))
        except FormatError:  # labels of another program
            image = Image.open(path)
            self.masks += PixelLayer.of(image, Path(path).name, self.config.contrast, visible=False)

    def _of_masks(self, masks: Masks) -> None:
        self._shown.add(str(Path(masks.path).resolve()))
        own, name = Image.open(masks.path), Path(masks.path).name
        if masks.layout.kind in ("multiclass", "instances"):
            self.masks.append(LabelLayer(name, masks, self.config.opacity, self.reference))
        else:
            self.masks += PixelLayer.of(own, name, self.config.contrast)
        self.masks += extra_layers(masks, self.config.contrast)
        self.reference = self.reference or own

    def _table(self, path: Path) -> None:
        """The measures of the objects that were named last."""
        for k in reversed(range(len(self.masks))):
            layer = self.masks[k]
            if isinstance(layer, LabelLayer) and layer.masks.layout.kind == "instances":
                table = read_columns(path, self.config.most_objects)
                self.masks[k] = LabelLayer(layer.name, layer.masks, layer.opacity, layer.below, table)
                return
        raise InputError(
            f"{path}: a table of objects without their store before it; make one with "
            "`unet-batch objects MASKS TABLE --labels STORE`, and name it first"
        )


def _outline(path: Path, image: Image, most: int) -> OutlineLayer:
    features = read_geojson(path, None, image.path)
    config = AnnotationsConfig(coordinates="pixels") if features.in_pixels else AnnotationsConfig()
    shapes = Place.of(image, features.crs or WORLD, config, str(path)).to_pixels(features.shapes)
    rings: list[tuple[Any, str]] = []
    for shape, name in zip(shapes, features.names, strict=True):
        for part in shapely.get_parts(shape):
            lines = [part.exterior, *part.interiors] if part.geom_type == "Polygon" else [part]
            # Of a file the first pixel reaches from 0 to 1; in the page its centre is at 0.
            rings += [(np.asarray(line.coords)[:, 1::-1] - 0.5, str(name or "")) for line in lines]
    if len(rings) > most:
        raise InputError(
            f"{path}: {len(rings):,} outlines, and browsers get slow beyond {most:,}; show the objects as a "
            "store, or set `most_polygons` higher"
        )
    return OutlineLayer(path.name, image, tuple(rings))


def _distinct(layers: Sequence[Layer]) -> list[Layer]:
    """The layers under names of their own: a second ``nuclei`` is called ``nuclei 2``."""
    seen: dict[str, int] = {}
    found: list[Layer] = []
    for layer in layers:
        count = seen[layer.name] = seen.get(layer.name, 0) + 1
        found.append(layer if count == 1 else replace(layer, name=f"{layer.name} {count}"))
    return found

"""Opening a file of annotations for one image: which classes it has, and where its shapes lie."""

from pathlib import Path

import shapely

from unet_batch.errors import InputError, MissingError
from unet_batch.ingestion.annotations.config import AnnotationsConfig
from unet_batch.ingestion.annotations.dialects import read_voc
from unet_batch.ingestion.annotations.drawing import Drawing, FromFile, InMemory, Painted
from unet_batch.ingestion.annotations.features import Features
from unet_batch.ingestion.annotations.geojson import WORLD, read_geojson
from unet_batch.ingestion.annotations.naming import Naming
from unet_batch.ingestion.annotations.place import Place
from unet_batch.ingestion.annotations.vector import VectorLayer
from unet_batch.store.image import Image

_GEOJSON = (".geojson", ".json")
_VOC = ".xml"
# Larger layers with an index are read by blocks.
_MOST_IN_MEMORY = 200_000
_INDEXED = (".gpkg", ".fgb")


def outside(drawing: Drawing, image: Image) -> int:
    """How many shapes lie wholly outside an image; 0 where they are not all at hand."""
    if not isinstance(drawing, InMemory):
        return 0
    height, width = image.shape[-2:]
    shapes = drawing.shapes.shapes
    return int((~shapely.intersects(shapes, shapely.box(0, 0, width, height))).sum())


def open_annotations(source: Path, image: Image, config: AnnotationsConfig) -> tuple[Drawing, Naming]:
    """The annotations of a file, in memory or, where they are many, to be read by blocks.

    Raises:
        MissingError, FormatError: no such file, or none that can be read.
        InputError: a class that is not listed, annotations off the image, settings that do not fit.
    """
    where = str(source)
    if source.suffix.lower() in (*_GEOJSON, _VOC):
        features = _whole(source, image, config)
        if features.in_pixels and config.coordinates == "auto" and config.transform is None:
            config = config.model_copy(update={"coordinates": "pixels"})
        place = Place.of(image, features.crs or WORLD, config, where)
    else:
        layer = VectorLayer.open(source, config.layer, config.property)
        place = Place.of(image, layer.crs, config, where)
        if not config.instances and layer.count > _MOST_IN_MEMORY and source.suffix.lower() in _INDEXED:
            naming = Naming.of(layer.names(), config, where)
            return FromFile(layer, Painted(place, naming, config)), naming
        features = layer.read()
    naming = Naming.of(features.names, config, where)
    drawing = InMemory(features, Painted(place, naming, config))
    _check_on_image(drawing, image, where)
    return drawing, naming


def _whole(source: Path, image: Image, config: AnnotationsConfig) -> Features:
    """The annotations of a file that is read whole."""
    if source.suffix.lower() != _VOC:
        return read_geojson(source, config.property, image.path)
    if not source.is_file():
        raise MissingError(f"{source}: no such file; check the path of the annotations")
    return read_voc(source)


def _check_on_image(drawing: InMemory, image: Image, where: str) -> None:
    height, width = image.shape[-2:]
    if not len(drawing.within(0, 0, width, height).numbers):
        left, top, right, bottom = (round(v) for v in shapely.total_bounds(drawing.shapes.shapes))
        raise InputError(
            f"{where}: no annotation lies on {image.path}: they span columns {left} to {right} and rows "
            f"{top} to {bottom} of an image of {width} x {height}; say how they lie with `coordinates` or "
            f"`transform` (y upwards: [1, 0, 0, 0, -1, 0])"
        )

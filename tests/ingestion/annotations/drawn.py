"""Small images and the annotations that are drawn on them."""

import json

import numpy as np

from unet_batch.ingestion.annotations.config import AnnotationsConfig
from unet_batch.ingestion.annotations.run import ingest_annotations
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout
from unet_batch.store.layout import PyramidLayout
from unet_batch.tiling import Box


def write_image(folder, shape=(90, 120), axes="yx", georef=None):
    """An OME-Zarr image of zeros, planes for themselves."""
    block = (1,) * (len(shape) - 2) + (256, 256)
    pyramid = PyramidLayout(axes, shape, 1, "uint8", block, (*block[:-2], 64, 64), dims=2, georef=georef)
    if (folder / "image.zarr").exists():
        return folder / "image.zarr"
    writer = Image.create(folder / "image.zarr", ImageLayout(pyramid))
    for outer in np.ndindex(shape[:-2]):
        box = Box((*outer, 0, 0), (*(i + 1 for i in outer), *shape[-2:]))
        writer.write_block(box, np.zeros((1, *box.shape), np.uint8))
    writer.finish()
    return folder / "image.zarr"


def rectangle(left, top, right, bottom):
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    return {"type": "Polygon", "coordinates": [ring]}


def feature(name, geometry, **properties):
    """As QuPath writes it."""
    classification = {"classification": {"name": name, "color": [1, 2, 3]}} if name else {}
    return {
        "type": "Feature",
        "id": "x",
        "geometry": geometry,
        "properties": {**classification, **properties},
    }


def write_geojson(folder, features, **more):
    path = folder / "drawn.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features, **more}))
    return path


def painted(folder, source, image=None, **config):
    """The labels of what was drawn, and the summary."""
    image = image or write_image(folder)
    out = folder / "labels.zarr"
    summary = ingest_annotations(image, source, out, AnnotationsConfig(workers=0, overwrite=True, **config))
    found = Image.open(out)
    return found.read(Box.of_shape(found.shape))[0], summary

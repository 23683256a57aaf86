"""Small labelled stores that data tests are made of."""

import numpy as np

from tests.worlds import write_image
from unet_batch.models.spec import ModelSpec
from unet_batch.training.data.config import DataConfig
from unet_batch.training.data.sources import open_sources


def spec_of(classes=("a", "b", "c"), **keys):
    basis = {"in_channels": 1, "classes": classes, "width": 2, "depth": 1, "padding": "same"}
    return ModelSpec.model_validate({**basis, **keys})


def write_pair(folder, image, labels, axes, label_axes=None, **source):
    """Image and labels as stores, and the source that names them."""
    fill = np.nan if labels.dtype.kind == "f" else np.iinfo(labels.dtype).max
    write_image(folder / "image.zarr", image, axes, chunk=32)
    write_image(folder / "labels.zarr", labels, label_axes or axes, chunk=32, fill=fill)
    paths = {"image": str(folder / "image.zarr"), "labels": str(folder / "labels.zarr")}
    return {**paths, "train": "all", **source}


def opened(source, spec=None, index=None, **config):
    """Sources of one source."""
    return open_sources(DataConfig.model_validate({"sources": [source], **config}), spec or spec_of(), index)


def coordinates(shape):
    """A float image whose values tell where each pixel lies."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)

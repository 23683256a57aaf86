"""Small mask stores to export, of labels that a test knows."""

import numpy as np
from scipy import ndimage

from unet_batch.store.georef import GeoReference
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import LABELS, MasksLayout
from unet_batch.tiling import Box

NAMES = ("background", "cell", "border")
UTM = GeoReference("EPSG:32633", (0.5, 0.0, 500000.0, 0.0, -0.5, 5000000.0))


def blobs(height, width, seed=0, scale=4.0):
    """Labels 0 to 2 in connected blobs."""
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((height, width)), scale)
    return np.digitize(field, np.quantile(field, [0.5, 0.8])).astype(np.uint8)


def store_masks(path, labels, *, block=64, dims=2, axes="yx", confidence=None, **layout):
    """A finished store of (C, *shape) or, for one channel, (*shape) labels."""
    settings = {"kind": "multiclass", "names": NAMES, **layout}
    labels = labels if labels.ndim > len(axes) else labels[None]
    shape = labels.shape[1:]
    blocks = (1,) * (len(shape) - dims) + (block,) * dims
    made = MasksLayout(
        axes=axes,
        shape=shape,
        block=blocks,
        chunk=blocks,
        dims=dims,
        confidence=confidence is not None,
        **settings,
    )
    masks = Masks.create(path, made, {})
    for one in made.blocks:
        pixels = {LABELS: labels[(slice(None), *one.box.slices)]}
        if confidence is not None:
            pixels["confidence"] = confidence[None][(slice(None), *one.box.slices)]
        arrays = {
            name: masks.layers[name].halved(values.astype(made.layer(name).dtype), made.halve(name))
            for name, values in pixels.items()
        }
        masks.write_block(one.box, arrays)
    masks.finish()
    return path


class Labels:
    """Labels in memory where a View is asked for."""

    fill = 255

    def __init__(self, labels):
        self.labels, self.shape = labels, labels.shape
        self.masks = type("Store", (), {"layers": {}})

    def read(self, box: Box, **_):
        return self.labels[None][(slice(None), *box.slices)]

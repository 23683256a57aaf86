"""An image with levels and masks in it, made once for the tests of the viewer."""

import numpy as np
from PIL import Image as Picture

from tests.products.worlds import write_masks
from unet_batch import IngestConfig, ingest


def write_picture(folder, height=96, width=128, **settings):
    """A grey picture, black but for a white square at rows 20 to 39 and columns 50 to 79, as OME-Zarr."""
    pixels = np.zeros((height, width), np.uint8)
    pixels[20:40, 50:80] = 255
    Picture.fromarray(pixels).save(folder / "p.png")
    ingest(folder / "p.png", folder / "image.zarr", IngestConfig(block=64, chunk=32, workers=0, **settings))
    return folder / "image.zarr", pixels


def write_labels(image, pixels, name="cells"):
    """Masks in the image, class 1 where it is white."""
    return write_masks(image / "labels" / name, (pixels > 0).astype(np.uint8))

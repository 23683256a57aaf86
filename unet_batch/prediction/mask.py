"""Masks of missing data: arrays that are 0 where an image has none. Opened and checked, not read."""

from unet_batch.errors import InputError
from unet_batch.store.containment import inside
from unet_batch.store.image import Image
from unet_batch.store.resample import resampled

INSIDE = "image:"
"""How a plan names an array inside the image, wherever the image lies."""


def open_mask(path: str, image: Image) -> Image:
    """The mask that a plan or setting names, at the image's level.

    Raises:
        FormatError: a path that leads out of the image.
        InputError: a mask of another shape than the image.
    """
    where = inside(image.path, path.removeprefix(INSIDE)) if path.startswith(INSIDE) else path
    mask = Image.open(where, axes=image.axes.replace("c", ""))
    levels = [mask.at_level(k) for k in range(len(mask.levels))]
    if (ratio := image.view.resample) is not None:
        levels = [resampled(one, ratio, binary=True) for one in levels]
    found = next((one for one in levels if one.shape == image.shape), None)
    if found is None:
        raise InputError(f"{where}: shape {mask.shape}, the image has {image.shape}; give a mask that fits")
    return found

"""Scale: which level of an image's pyramid has pixels as large as those that a network was trained on."""

from math import log, sqrt

from unet_batch.store.image import Image
from unet_batch.store.units import length

TOLERANCE = 1.5  # networks bear this much: scale augmentation is commonly drawn from 0.7 to 1.4


def pixel_size(image: Image) -> float | None:
    """Side of a pixel on (y, x) in micrometres, on a map in its units; None where nothing says so."""
    named = length(image.unit)
    unit = 1.0 if image.georef is not None else named and named.micrometres
    area = image.pixel_size.get("y", 0.0) * image.pixel_size.get("x", 0.0)
    return unit * sqrt(abs(area)) if unit and area else None


def fitting_level(image: Image, wanted: float | None) -> int:
    """The level whose pixels are nearest to ``wanted``, as a ratio.

    It is 0 where either size is not known, and where no level comes near: numbers that far apart rather speak
    of wrong metadata than of a thumbnail that somebody wants segmented.
    """
    misfits = [abs(log(_ratio(image.at_level(level), wanted))) for level in range(len(image.levels))]
    best = min(misfits)
    return misfits.index(best) if best <= log(TOLERANCE) else 0


def remark(image: Image, wanted: float | None) -> str | None:
    """A line for the person where the pixels are too large or too small for the network."""
    ratio = _ratio(image, wanted)
    if 1 / TOLERANCE <= ratio <= TOLERANCE:
        return None
    return (
        f"{image.path}: pixels of level {image.level} are {pixel_size(image):.4g} a side, those that the "
        f"network was trained on {wanted:.4g}: expect poor masks; use another level or another network"
    )


def _ratio(image: Image, wanted: float | None) -> float:
    found = pixel_size(image)
    return 1.0 if wanted is None or not found else found / wanted

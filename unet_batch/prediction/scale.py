"""Scale: an image with pixels as large as those that a network was trained on, its own or resampled."""

from dataclasses import replace
from math import log, sqrt

from unet_batch.errors import InputError
from unet_batch.prediction.config import PredictConfig
from unet_batch.store.image import Image
from unet_batch.store.level import Ratio
from unet_batch.store.resample import resampled
from unet_batch.store.units import length

TOLERANCE = 1.5  # networks bear this much: scale augmentation is commonly drawn from 0.7 to 1.4
CLOSE = 1.05  # pixels this near in size are taken as they are
# Sizes farther apart rather speak of wrong metadata than of pixels that somebody wants made.
MOST_SHRUNK, MOST_GROWN = 64.0, 4.0


def pixel_size(image: Image) -> float | None:
    """Side of a pixel on (y, x) in micrometres, on a map in its units; None where nothing says so."""
    area = image.pixel_size.get("y", 0.0) * image.pixel_size.get("x", 0.0)
    return _unit(image) * sqrt(abs(area)) if _unit(image) and area else None


def with_size(image: Image, size: float | None) -> Image:
    """``image``, whose pixels of level 0 are ``size`` micrometres a side, whatever it says itself."""
    if size is None:
        return image
    extents = {axis: extent for axis, extent in image.pixel_size.items() if axis not in "yx"}
    named = length(image.unit)
    micrometres = {axis: extent * named.micrometres for axis, extent in extents.items()} if named else {}
    return replace(image, pixel_size={**micrometres, "y": size, "x": size}, unit="micrometer")


def fitted(image: Image, wanted: float | None, config: PredictConfig) -> Image:
    """The level that the settings name; else, where a network wants pixels of a size, ``image`` with such.

    Raises:
        InputError: no such level; a wanted size where the image has none; a region in pixels that are not
            known before.
    """
    image = with_size(image, config.pixel_size)
    if config.level != "auto":
        return image.at_level(config.level)
    if wanted is None:
        return image
    if pixel_size(image) is None:
        if config.resample == "never":
            return image
        raise InputError(
            f"{image.path}: does not say how large its pixels are, and the network was trained on "
            f"{wanted:.4g} micrometres; give --pixel-size MICROMETRES, or take them as they are with --set "
            "resample=never"
        )
    found = _nearest(image, wanted) if config.resample == "never" else _sized(image, wanted, config)
    if config.roi and (found.level or found.view.resample):
        what = f"level {found.level}" + (", resampled" if found.view.resample else "")
        raise InputError(
            f"roi is in pixels of a level, and the network's pixel_size asks for {what}: set `level` too"
        )
    return found


def _sized(image: Image, wanted: float, config: PredictConfig) -> Image:
    """A level within 5 %, unless all is to be resampled, else the next finer one resampled."""
    ratios = [_ratio(image.at_level(level), wanted) for level in range(len(image.levels))]
    if not 1 / MOST_SHRUNK <= ratios[0] <= MOST_GROWN:
        return image
    misfits = [abs(log(ratio)) for ratio in ratios]
    best = misfits.index(min(misfits))
    if misfits[best] <= (log(CLOSE) if config.resample == "auto" else 1e-6):
        return image.at_level(best)
    finer = [level for level, ratio in enumerate(ratios) if ratio <= 1]
    source = image.at_level(finer[-1] if finer else 0)
    return resampled(source, _steps(source, wanted))


def _steps(image: Image, wanted: float) -> Ratio:
    along = (wanted / _unit(image) / abs(image.pixel_size[axis]) for axis in "yx")
    y, x = (float(f"{ratio:.12g}") for ratio in along)
    return y, x


def _nearest(image: Image, wanted: float) -> Image:
    """The level whose pixels are nearest in size, as a ratio; level 0 where none comes near."""
    misfits = [abs(log(_ratio(image.at_level(level), wanted))) for level in range(len(image.levels))]
    best = min(misfits)
    return image.at_level(misfits.index(best) if best <= log(TOLERANCE) else 0)


def remark(image: Image, wanted: float | None) -> str | None:
    """A line for the person where the pixels are too large or too small for the network."""
    ratio = _ratio(image, wanted)
    if 1 / TOLERANCE <= ratio <= TOLERANCE:
        return None
    return (
        f"{image.path}: pixels of level {image.level} are {pixel_size(image):.4g} a side, those that the "
        f"network was trained on {wanted:.4g}: expect poor masks; use another level or another network"
    )


def _unit(image: Image) -> float:
    """Micrometres of a length of the image; 1 on maps; 0 where nothing says so."""
    named = length(image.unit)
    return 1.0 if image.georef is not None else named.micrometres if named else 0.0


def _ratio(image: Image, wanted: float | None) -> float:
    found = pixel_size(image)
    return 1.0 if wanted is None or not found else found / wanted

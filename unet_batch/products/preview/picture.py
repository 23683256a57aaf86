"""Pictures: the image of a scene in colours, and its masks as a transparent sheet above. Draws no frame."""

import colorsys
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from unet_batch.errors import InputError
from unet_batch.products.preview.config import Channel, PreviewConfig
from unet_batch.products.preview.scene import Overlay, Scene, read
from unet_batch.store import ome
from unet_batch.store.image import Image
from unet_batch.tiling import ceil_div

Bytes = NDArray[np.uint8]
_MOST = 2**28  # pixels of a picture
_SMALLEST = 640  # pixels of the longest side; smaller windows are shown with whole pixels enlarged
_GOLDEN = 0.618033988749895
_CONTRAST = (1.0, 99.0)


def size_of(scene: Scene, config: PreviewConfig, level: int | None = None) -> tuple[int, int, float]:
    """Height and width of the picture, and how many pixels of the masks one of its pixels stands for.

    Raises:
        InputError: no such level.
    """
    height, width = scene.extent
    if level is not None:
        factor = scene.reference.at_level(level).levels[level].factor[-1]
    elif max(height, width) > config.size:
        factor = max(height, width) / config.size
    else:
        needed, room = ceil_div(_SMALLEST, max(height, width)), config.size // max(height, width)
        factor = 1 / max(1, min(needed, room))
    if height * width / factor**2 > _MOST:
        raise InputError(
            f"a picture of {height / factor:.0f} x {width / factor:.0f}: give a box or a coarser level"
        )
    return max(1, round(height / factor)), max(1, round(width / factor)), factor


def base(scene: Scene, config: PreviewConfig, height: int, width: int, factor: float) -> Pillow.Image:
    """The image of ``scene`` as RGB; white where there is none."""
    if scene.base is None:
        return Pillow.new("RGB", (width, height), "white")
    channels = _channels(scene.base, config.channels)
    pixels = read(scene.base, scene, factor, channels)
    grey = [
        _stretched(scene.base, one, channel, config) for one, channel in zip(pixels, channels, strict=True)
    ]
    planes = {1: [0, 0, 0], 2: [0, 1, 0], 3: [0, 1, 2]}[len(grey)]  # two: magenta and green
    picture = Pillow.fromarray(np.stack([grey[k] for k in planes], axis=-1))
    kind = Pillow.Resampling.NEAREST if factor < 1 else Pillow.Resampling.BOX
    return picture.resize((width, height), kind)


def sheet(scene: Scene, config: PreviewConfig, height: int, width: int, factor: float) -> Pillow.Image:
    """The masks of ``scene`` as RGBA: tinted areas, opaque outlines."""
    picture = Pillow.new("RGBA", (width, height))
    for overlay in scene.overlays:
        pixels = read(overlay.image, scene, factor)
        for labels, colours in _planes(overlay, pixels):
            picture.alpha_composite(_tinted(labels, colours, config, (width, height)))
    return picture


def legend(scene: Scene) -> list[tuple[str, tuple[int, int, int]]]:
    """Names and colours of what masks show, the transparent left out."""
    entries: dict[str, tuple[int, int, int]] = {}
    for overlay in scene.overlays:
        layout = overlay.masks.layout
        if layout.kind == "instances":
            entries["objects, a colour each"] = _colour_of_number(np.array([1]))[0].tolist()
            continue
        for name, colour in zip(layout.names, _colours(overlay), strict=True):
            if colour[3]:
                entries[name] = (colour[0], colour[1], colour[2])
    return [(name, (int(c[0]), int(c[1]), int(c[2]))) for name, c in entries.items()]


def _channels(image: Image, wanted: Sequence[Channel] | None) -> tuple[int, ...]:
    if wanted is None:
        return tuple(range(3)) if image.channels >= 3 else tuple(range(image.channels))
    found = []
    for one in wanted:
        number = image.channel_names.index(one) if one in image.channel_names else one
        if not isinstance(number, int) or not 0 <= number < image.channels:
            names = ", ".join(image.channel_names) or f"0 to {image.channels - 1}"
            raise InputError(f"{image.path}: has no channel {one}; choose among {names}")
        found.append(number)
    return tuple(found)


def _stretched(image: Image, pixels: NDArray[np.generic], channel: int, config: PreviewConfig) -> Bytes:
    """A channel from 0 to 255."""
    if config.contrast is None and image.dtype == np.uint8 and image.channels >= 3:
        return pixels.astype(np.uint8)
    low, high = image.percentiles(config.contrast or _CONTRAST, (channel,))[0]
    values = (pixels.astype(np.float32) - low) / max(high - low, 1e-12)
    return np.asarray(np.nan_to_num(np.clip(values, 0, 1)) * 255, np.uint8)


def _planes(overlay: Overlay, pixels: NDArray[np.generic]) -> list[tuple[NDArray[np.int64], Bytes]]:
    """Labels, 0 transparent, and the RGBA of each label from 0 on, of every set of classes."""
    layout = overlay.masks.layout
    if layout.kind == "instances":
        numbers, places = np.unique(pixels[0], return_inverse=True)
        colours = np.concatenate([_colour_of_number(numbers), np.full((len(numbers), 1), 255)], axis=1)
        colours[numbers == 0] = 0
        return [(places.reshape(pixels[0].shape), colours.astype(np.uint8))]
    colours = np.array([*_colours(overlay), (0, 0, 0, 0)], np.uint8)
    if layout.kind == "multiclass":
        return [(np.where(pixels[0] == layout.fill, len(layout.names), pixels[0]).astype(np.int64), colours)]
    clear = np.zeros(4, np.uint8)
    return [
        ((one == 1).astype(np.int64), np.stack([clear, colour]))
        for one, colour in zip(pixels, colours[:-1], strict=True)
    ]


def _tinted(
    labels: NDArray[np.int64], colours: Bytes, config: PreviewConfig, size: tuple[int, int]
) -> Pillow.Image:
    shown = labels[_nearest(labels.shape[0], size[1])][:, _nearest(labels.shape[1], size[0])]
    tints = colours.copy()
    tints[:, 3] = np.round(colours[:, 3] * config.opacity)
    rgba = tints[shown]
    if config.outlines:
        edge = _edges(shown)
        rgba[edge] = colours[shown[edge]]
    return Pillow.fromarray(rgba)


def _nearest(given: int, wanted: int) -> NDArray[np.int64]:
    """Which of ``given`` pixels each of ``wanted`` shows."""
    return ((np.arange(wanted) + 0.5) * given / wanted).astype(np.int64)


def _edges(labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pixels beside another label."""
    edge = np.zeros(labels.shape, np.bool_)
    for axis in (0, 1):
        differs = np.diff(labels, axis=axis) != 0
        low, high = (slice(None, -1), slice(1, None))
        edge[(low, slice(None)) if axis == 0 else (slice(None), low)] |= differs
        edge[(high, slice(None)) if axis == 0 else (slice(None), high)] |= differs
    return edge


def _colours(overlay: Overlay) -> Sequence[ome.Rgba]:
    layout = overlay.masks.layout
    if layout.colours:
        return layout.colours
    if layout.kind == "multilabel":  # no channel is the background of the others
        return ome.class_colours(tuple(f"{name} " for name in layout.names))
    return ome.class_colours(layout.names)


def _colour_of_number(numbers: NDArray[np.integer]) -> Bytes:
    """Hues far apart for numbers that follow each other."""
    hues = (numbers.astype(np.float64) * _GOLDEN) % 1.0
    colours = [[round(255 * c) for c in colorsys.hsv_to_rgb(hue, 0.75, 0.95)] for hue in hues]
    return np.array(colours, np.uint8).reshape(-1, 3)

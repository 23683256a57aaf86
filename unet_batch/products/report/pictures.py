"""The pictures of a report: the whole, and parts where classes mix, as data that a page can hold."""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from unet_batch.products.preview import picture
from unet_batch.products.preview.scene import Scene
from unet_batch.products.report.config import ReportConfig
from unet_batch.products.report.facts import Facts
from unet_batch.products.scale import scale_bar
from unet_batch.store.journal import Status

# Status of blocks: no work yet, done, skipped, failed. Readable for most who do not tell red from green.
STATUS_COLOURS = {
    Status.PENDING: (200, 200, 200),
    Status.DONE: (38, 120, 178),
    Status.SKIPPED: (160, 203, 232),
    Status.FAILED: (214, 69, 20),
}
_WORST = (Status.SKIPPED, Status.DONE, Status.PENDING, Status.FAILED)  # of several planes, the last is shown
_RAMP = np.array([(68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37)], np.float64)
_QUALITY = 88
_ASKED = 64  # blocks looked at for each part shown, as windows of neighbours overlap


@dataclass(frozen=True, slots=True)
class Shown:
    """A part of the masks as two pictures, one above the other.

    Attributes:
        caption: where it is.
        base: the image, as a data URI.
        sheet: the masks, likewise; None where there is nothing to lay over.
        width, height: of both.
        bar: share of the width that the scale bar takes, and its label.
    """

    caption: str
    base: str
    sheet: str | None
    width: int
    height: int
    bar: tuple[float, str]


def shown(facts: Facts, config: ReportConfig, image: str | Path | None = None) -> Iterator[Shown]:
    """The whole, and as many parts as asked for, over ``image``."""
    scene = Scene.open([facts.masks.path, *([] if image is None else [image])])
    yield _shown(
        scene, config, "The whole" if len(scene.plane) == 0 else f"The whole of plane {_plane(scene)}"
    )
    if max(scene.extent) <= config.window:
        return
    for part in _parts(facts, scene, config):
        top, bottom, left, right = part.window
        plane = f", plane {_plane(part)}" if part.plane else ""
        yield _shown(part, config, f"y {top} to {bottom}, x {left} to {right}{plane}")


def legend(facts: Facts) -> list[tuple[str, tuple[int, int, int]]]:
    """Names and colours of the classes."""
    return picture.legend(Scene.open([facts.masks.path]))


def status_map(statuses: NDArray[np.uint8]) -> str:
    """A pixel per block, coloured by what became of it; of several planes the worst counts."""
    rank = np.zeros(len(Status), np.int64)
    rank[list(_WORST)] = np.arange(len(_WORST))
    worst = _flat(rank[statuses])
    colours = np.array([STATUS_COLOURS[status] for status in _WORST], np.uint8)
    return _png(Pillow.fromarray(colours[worst]))


def seconds_map(seconds: NDArray[np.float32], statuses: NDArray[np.uint8]) -> str:
    """A pixel per block, dark for quick and bright for slow ones; grey where nothing was computed."""
    done = statuses == Status.DONE
    longest = float(seconds[done].max(initial=0)) or 1.0
    places = np.clip(_flat(np.where(done, seconds, -1)) / longest, -1, 1)
    at = np.clip(places, 0, 1) * (len(_RAMP) - 1)
    low = np.minimum(at.astype(int), len(_RAMP) - 2)
    mixed = _RAMP[low] + (at - low)[..., None] * (_RAMP[low + 1] - _RAMP[low])
    colours = np.where((places < 0)[..., None], 200, mixed)
    return _png(Pillow.fromarray(colours.astype(np.uint8)))


def ramp() -> str:
    """The colours of ``seconds_map`` in order, as CSS has them."""
    colours = ", ".join("rgb({:.0f} {:.0f} {:.0f})".format(*colour) for colour in _RAMP)
    return f"linear-gradient(90deg, {colours})"


def _shown(scene: Scene, config: ReportConfig, caption: str) -> Shown:
    height, width, factor = picture.size_of(scene, config.picture)
    base = picture.base(scene, config.picture, height, width, factor)
    sheet = picture.sheet(scene, config.picture, height, width, factor) if scene.overlays else None
    size, unit = scene.scale()
    below = _jpeg(base) if scene.base is not None else _png(base)
    above = None if sheet is None else _png(sheet.quantize(256, Pillow.Quantize.FASTOCTREE))
    return Shown(caption, below, above, width, height, scale_bar(scene.extent[1] * size, unit))


def _parts(facts: Facts, scene: Scene, config: ReportConfig) -> list[Scene]:
    """Windows around the most mixed blocks, none with more than a quarter of another one."""
    found: list[Scene] = []
    for index in _mixed(facts.counts, _ASKED * config.details):
        part = _window(facts, scene, index, config.window)
        if len(found) < config.details and not any(_overlap(part, one) > 1 / 4 for one in found):
            found.append(part)
    return found


def _overlap(one: Scene, other: Scene) -> float:
    """Share of a window that lies in another of the same size; none of another plane."""
    if one.plane != other.plane:
        return 0.0
    (top, bottom, left, right), (y0, y1, x0, x1) = one.window, other.window
    height, width = min(bottom, y1) - max(top, y0), min(right, x1) - max(left, x0)
    return max(0, height) * max(0, width) / ((bottom - top) * (right - left))


def _mixed(counts: NDArray[np.uint64], most: int) -> list[tuple[int, ...]]:
    """Blocks whose pixels are spread most evenly over classes (by entropy), the most mixed first."""
    pixels = counts.astype(np.float64)
    total = pixels.sum(axis=-1, keepdims=True)
    parts = np.divide(pixels, total, out=np.zeros_like(pixels), where=total > 0)
    entropy = -(parts * np.log(np.where(parts > 0, parts, 1))).sum(axis=-1) * total[..., 0]
    order = np.argsort(-entropy, axis=None, kind="stable")[:most]
    chosen = [tuple(int(i) for i in np.unravel_index(number, entropy.shape)) for number in order]
    return [index for index in chosen if entropy[index] > 0]


def _window(facts: Facts, scene: Scene, index: tuple[int, ...], side: int) -> Scene:
    box = facts.masks.layout.blocks.box(index)
    middle = [(a + b) // 2 for a, b in zip(box.start, box.stop, strict=True)]
    ranges = [(at, at + 1) for at in middle[:-2]]
    for at, size in zip(middle[-2:], scene.reference.shape[-2:], strict=True):
        start = max(0, min(at - side // 2, size - side))
        ranges.append((start, min(size, start + side)))
    return scene.at(ranges)


def _plane(scene: Scene) -> str:
    axes = scene.reference.axes.replace("c", "")
    return ", ".join(f"{axis} {index}" for axis, index in zip(axes, scene.plane, strict=False))


def _flat(blocks: NDArray[Any]) -> NDArray[Any]:
    """(y, x) of blocks of any number of axes: the largest counts."""
    return np.asarray(blocks.reshape(-1, *blocks.shape[-2:]).max(axis=0))


def _png(image: Pillow.Image) -> str:
    return _data(image, "png", optimize=True)


def _jpeg(image: Pillow.Image) -> str:
    return _data(image, "jpeg", quality=_QUALITY)


def _data(image: Pillow.Image, kind: str, **settings: int) -> str:
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"

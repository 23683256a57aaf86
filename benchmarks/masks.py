"""Masks that benchmarks export: stained tissue in three classes, or discs in rows, written block by block."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import MasksLayout
from unet_batch.tiling import Box

BLOCK, CHUNK = 2048, 512
NAMES = ("background", "cell", "border")
SPACING = 30  # pixels from disc to disc, so 30,000 pixels a side hold a million
Labels = NDArray[np.uint8]


def write_masks(path: Path, side: int, labels_in: Callable[[Box], Labels]) -> Path:
    """A finished store of ``side`` pixels a side."""
    layout = MasksLayout(
        "multiclass", "yx", (side,) * 2, (BLOCK,) * 2, (CHUNK,) * 2, 2, NAMES,
        pixel_size={"y": 0.25, "x": 0.25}, unit="micrometer",
    )  # fmt: skip
    masks = Masks.create(path, layout, {})
    labels = masks.layers["labels"]
    for block in layout.blocks:
        pixels = labels_in(block.box)[np.newaxis]
        masks.write_block(block.box, {"labels": labels.halved(pixels, layout.halve("labels"))})
    masks.finish()
    return path


def blobs(seed: int = 0) -> Callable[[Box], Labels]:
    """Smooth noise cut at two levels, one picture of 4096 pixels turned over and over."""
    extent = 4096
    noise = np.random.default_rng(seed).standard_normal((extent, extent)).astype(np.float32)
    field = ndimage.gaussian_filter(noise, 12, mode="wrap")
    picture = np.digitize(field, np.quantile(field[::8, ::8], [0.6, 0.75])).astype(np.uint8)

    def labels_in(box: Box) -> Labels:
        y, x = (np.arange(a, b) % extent for a, b in zip(box.start, box.stop, strict=True))
        return picture[np.ix_(y, x)]

    return labels_in


def discs(side: int, seed: int = 0) -> Callable[[Box], Labels]:
    """Discs of 6 to 12 pixels, one in each square of SPACING, moved a little."""
    count = -(-side // SPACING)
    random = np.random.default_rng(seed)
    moved = random.uniform(-2, 2, (2, count, count)).astype(np.float32)
    radius = random.uniform(6, 12, (count, count)).astype(np.float32)

    def labels_in(box: Box) -> Labels:
        y, x = np.ogrid[box.slices]
        cell = (y // SPACING, x // SPACING)
        centre_y, centre_x = ((one % SPACING - SPACING / 2).astype(np.float32) for one in (y, x))
        distance = np.hypot(centre_y - moved[0][cell], centre_x - moved[1][cell])
        return np.asarray(distance < radius[cell], np.uint8)

    return labels_in

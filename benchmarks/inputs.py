"""Images and networks that benchmarks run on. Real texture, so that codecs work as hard as in earnest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.data import immunohistochemistry

from unet_batch.models.build import build
from unet_batch.models.checkpoint import save_checkpoint
from unet_batch.models.spec import ModelSpec
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout
from unet_batch.store.layout import PyramidLayout
from unet_batch.tiling import Box

Network = Mapping[str, Any]

BLOCK, CHUNK = 2048, 512
NORMALISATION: dict[str, list[float]] = {"mean": [127.5], "std": [64.0]}
DEMO: Network = {
    "in_channels": 3,
    "classes": ["background", "nucleus", "border"],
    "width": 16,
    "norm": "batch",
}
PADDED: Network = {"in_channels": 3, "classes": ["glass", "blue", "brown"], "width": 32, "padding": "same"}
PAPER: Network = {"preset": "unet-2015"}


def tissue(side: int, seed: int = 0) -> NDArray[np.uint8]:
    """(3, side, side): scikit-image's stained colon, 512 px, turned and flipped at random side by side."""
    picture = np.moveaxis(immunohistochemistry(), -1, 0)  # type: ignore[no-untyped-call]
    turns = np.random.default_rng(seed).integers(0, 8, (-(-side // 512),) * 2)
    rows = [np.concatenate([_turned(picture, turn) for turn in row], axis=2) for row in turns]
    return np.ascontiguousarray(np.concatenate(rows, axis=1)[:, :side, :side])


def write_image(path: Path, pixels_CYX: NDArray[np.uint8], side: int | None = None, levels: int = 1) -> Path:
    """An OME-Zarr image of ``side`` (that of the pixels); what the pixels do not cover is never written."""
    side = side or pixels_CYX.shape[1]
    channels = len(pixels_CYX)
    layout = PyramidLayout(
        "cyx" if channels > 1 else "yx", (side, side), channels, "uint8", (BLOCK,) * 2, (CHUNK,) * 2, 2,
        levels=levels,
    )  # fmt: skip
    writer = Image.create(path, ImageLayout(layout))
    height, width = pixels_CYX.shape[1:]
    for y in range(0, height, BLOCK):
        for x in range(0, width, BLOCK):
            box = Box((y, x), (min(y + BLOCK, height), min(x + BLOCK, width)))
            writer.write_block(box, np.ascontiguousarray(pixels_CYX[(slice(None), *box.slices)]))
    writer.finish()
    return path


def write_network(path: Path, keys: Network) -> Path:
    """An untrained network; how fast it is does not depend on its weights."""
    torch.manual_seed(0)
    spec = ModelSpec.model_validate({"normalisation": NORMALISATION, **keys})
    save_checkpoint(path, build(spec), spec)
    return path


def _turned(picture: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    turned = np.rot90(picture, turn % 4, axes=(1, 2))
    return turned[:, ::-1] if turn >= 4 else turned

"""Foreign files made for tests, each with the pixels that a reader must give back as (C, *shape)."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from unet_batch.formats.config import ReadConfig

DATA = Path(os.environ.get("UNET_BATCH_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))


def sample(name):
    """A real file of the test data, or a skip that names it."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{name} is not there; set UNET_BATCH_TEST_DATA")
    return path


def pixels(shape, dtype="uint8", seed=0):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def by_tifffile(path, channels):
    """(C, *shape) as tifffile decodes the whole file; samples of a pixel come last there."""
    whole = tifffile.imread(path)
    whole = whole.astype("uint8") if whole.dtype == bool else whole
    if channels == 1:
        return whole[None]
    return np.moveaxis(whole, -1, 0) if whole.shape[-1] == channels else whole


@dataclass(frozen=True)
class Foreign:
    """One kind of file: how it is written, and what is expected of its reader."""

    suffix: str
    stored: np.ndarray
    expected: np.ndarray
    axes: str
    write: Callable[[Path, np.ndarray], object]
    config: ReadConfig = field(default_factory=ReadConfig)

    def make(self, folder):
        path = folder / f"image{self.suffix}"
        self.write(path, self.stored)
        return path


def _tiff(**options):
    return lambda path, data: tifffile.imwrite(path, data, **options)


RGB = pixels((70, 53, 3))
GREY = pixels((70, 53), "uint16")
STACK = pixels((3, 4, 37, 29), "int16")
BITS = pixels((40, 30)) > 100

TIFF = ".tif"
KINDS = {
    "plain": Foreign(TIFF, GREY, GREY[None], "yx", _tiff()),
    "big-endian": Foreign(TIFF, GREY, GREY[None], "yx", _tiff(byteorder=">", bigtiff=True)),
    "strips": Foreign(
        TIFF,
        RGB,
        RGB.transpose(2, 0, 1),
        "cyx",
        _tiff(photometric="rgb", rowsperstrip=7, compression="lzw", predictor=True),
    ),
    "tiles": Foreign(TIFF, RGB, RGB.transpose(2, 0, 1), "cyx", _tiff(tile=(32, 16), compression="zstd")),
    "separate": Foreign(
        TIFF,
        RGB.transpose(2, 0, 1),
        RGB.transpose(2, 0, 1),
        "cyx",
        _tiff(photometric="rgb", planarconfig="separate", tile=(16, 16), compression="deflate"),
    ),
    "bits": Foreign(TIFF, BITS, BITS[None].astype("uint8"), "yx", _tiff(photometric="minisblack")),
    "float": Foreign(TIFF, GREY / np.float32(7), (GREY / np.float32(7))[None], "yx", _tiff(tile=(16, 16))),
    "ome": Foreign(
        ".ome.tif",
        STACK,
        STACK.transpose(1, 0, 2, 3),
        "tcyx",
        _tiff(metadata={"axes": "TCYX"}, photometric="minisblack", compression="deflate"),
    ),
    "ome-volume": Foreign(
        ".ome.tif",
        STACK,
        STACK.transpose(1, 0, 2, 3),
        "czyx",
        _tiff(metadata={"axes": "ZCYX"}, photometric="minisblack"),
    ),
    "volumetric-tiles": Foreign(
        TIFF,
        STACK[0],
        STACK[:1],
        "zyx",
        _tiff(tile=(2, 16, 16), volumetric=True, photometric="minisblack", compression="zstd"),
    ),
    "imagej": Foreign(
        TIFF,
        STACK.astype("uint16"),
        STACK.astype("uint16").transpose(1, 0, 2, 3),
        "czyx",
        _tiff(imagej=True, metadata={"axes": "ZCYX"}),
    ),
    "one-pixel-wide": Foreign(TIFF, GREY[:, :1], GREY[None, :, :1], "yx", _tiff(rowsperstrip=8)),
    "channels-of-rgb": Foreign(
        ".ome.tif",
        pixels((2, 20, 30, 3)),
        pixels((2, 20, 30, 3)).transpose(0, 3, 1, 2).reshape(6, 20, 30),
        "cyx",
        _tiff(metadata={"axes": "CYXS"}, photometric="rgb", compression="deflate"),
    ),
    "selected": Foreign(
        TIFF,
        STACK,
        STACK.transpose(1, 0, 2, 3)[[3, 1]],
        "czyx",
        _tiff(photometric="minisblack", compression="zstd"),
        ReadConfig(axes="zcyx", channels=(3, 1)),
    ),
    "numpy": Foreign(".npy", GREY, GREY[None], "yx", np.save),
    "numpy-fortran": Foreign(
        ".npy",
        np.asfortranarray(RGB),
        RGB.transpose(2, 0, 1),
        "cyx",
        np.save,
        ReadConfig(axes="yxc"),
    ),
    "png": Foreign(".png", RGB, RGB.transpose(2, 0, 1), "cyx", lambda p, a: Pillow.fromarray(a).save(p)),
    "png-16": Foreign(".png", GREY, GREY[None], "yx", lambda p, a: Pillow.fromarray(a).save(p)),
}

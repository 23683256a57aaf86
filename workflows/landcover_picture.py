"""One picture of the story: the scenes as they came, the mosaic of them, and its mask."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image as Picture
from rasterio.errors import RasterioError

from unet_batch.store.image import Image
from unet_batch.tiling import Box

EXTENT, GAP = 512, 16  # pixels of a panel, and between two
ACROSS, COLUMNS = 84, 6  # pixels of a scene on its panel, and how many stand in a row
RED, GREEN, BLUE = 2, 1, 0  # of the made scenes' bands
BRIGHTEST = 2600  # reflectance times 10,000 that is shown white
# Of water, fields, forest, towns, and of what no scene saw.
COLOURS = np.array([[52, 104, 184], [228, 206, 130], [46, 118, 62], [190, 62, 52], [255] * 3], np.uint8)


def draw(scenes: Path, mosaic: Path, masks: Path, out: Path) -> None:
    """Draw the made country's ``scenes`` (a folder), ``mosaic`` and ``masks`` side by side."""
    sheet = Picture.new("RGB", (3 * EXTENT + 2 * GAP, EXTENT), "white")
    for number, path in enumerate(sorted(scenes.glob("*.tif"))):
        row, column = divmod(number, COLUMNS)
        sheet.paste(_scene(path), (column * (ACROSS + 1), row * (ACROSS + 1) + EXTENT // 8))
    seen, labels = _whole(mosaic), _whole(masks)[0]
    panels = [_colours(seen), COLOURS[np.minimum(labels, len(COLOURS) - 1)]]
    panels[0][labels == 255] = 255
    for number, panel in enumerate(panels, start=1):
        picture = Picture.fromarray(panel).resize((EXTENT, EXTENT), Picture.Resampling.LANCZOS)
        sheet.paste(picture, (number * (EXTENT + GAP), 0))
    sheet.quantize(128).save(out, optimize=True)


def _scene(path: Path) -> Picture.Image:
    """A scene as its file has it; grey where it cannot be read."""
    try:
        with rasterio.open(path) as file:
            pixels = file.read(out_shape=(file.count, ACROSS, ACROSS))
    except RasterioError:
        return Picture.new("RGB", (ACROSS, ACROSS), "grey")
    return Picture.fromarray(_colours(pixels))


def _colours(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    shown = pixels[[RED, GREEN, BLUE]].astype(np.float32) / BRIGHTEST * 255
    return np.ascontiguousarray(np.moveaxis(shown.clip(0, 255).astype(np.uint8), 0, -1))


def _whole(path: Path) -> NDArray[Any]:
    image = Image.open(path)
    return image.read(Box.of_shape(image.shape))

"""Stores -> a PNG for people.

>>> found = preview(["image.zarr", "masks.zarr"], "masks.png", PreviewConfig(frame=False))
>>> found.width, found.height, found.pixels
(804, 600, 0.25)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image as Pillow

from unet_batch.atomic import atomic_file
from unet_batch.calls import checked
from unet_batch.products.outputs import check_output
from unet_batch.products.preview import picture
from unet_batch.products.preview.config import PreviewConfig
from unet_batch.products.preview.frame import framed
from unet_batch.products.preview.scene import Scene
from unet_batch.products.sources import image_unknown
from unet_batch.store.lock import OutputLock


@dataclass(frozen=True, slots=True)
class Preview:
    """A picture that was written; one of its pixels stands for ``pixels`` of the masks on each side.

    ``remark`` says where the image is that is not shown; empty where nothing is missing.
    """

    path: str
    width: int
    height: int
    pixels: float
    remark: str = ""


@checked
def preview(
    stores: str | Path | Sequence[str | Path],
    out: str | Path,
    config: PreviewConfig | None = None,
    *,
    level: int | None = None,
    box: Sequence[tuple[int, int]] | None = None,
) -> Preview:
    """Draw an image with masks above it, or either alone, in bounded memory.

    Args:
        stores: at most one image, and masks of classes or objects; masks at
            IMAGE/labels/NAME are shown over that image, others alone.
        out: the picture, ``.png``; one that is there is replaced.
        config: how it looks.
        level: show that level pixel by pixel; None takes the one that suits the size.
        box: [start, stop) of y and x in pixels of the masks, before them of other axes, whose first is shown.

    Raises:
        UnetBatchError: stores that cannot be shown, or a place that cannot be written.
    """
    settings, path = config or PreviewConfig(), Path(out)
    check_output(path, (".png",), replace=True)
    scene = Scene.open([stores] if isinstance(stores, str | Path) else stores)
    scene = scene if box is None else scene.at(box)
    height, width, factor = picture.size_of(scene, settings, level)
    drawn = picture.base(scene, settings, height, width, factor).convert("RGBA")
    drawn.alpha_composite(picture.sheet(scene, settings, height, width, factor))
    result: Pillow.Image = drawn.convert("RGB")
    if settings.frame:
        size, unit = scene.scale()
        result = framed(result, scene.extent[1] * size, unit, picture.legend(scene))
    with OutputLock.beside(path), atomic_file(path) as file:
        result.save(file, format="png")
    remark = image_unknown(scene.overlays[0].masks) if scene.base is None else ""
    return Preview(str(path), result.width, result.height, factor, remark)

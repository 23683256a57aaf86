"""Sources: the masks, and the image beside them, that products are made from, checked before work begins."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unet_batch.errors import InputError, MissingError, UnetBatchError
from unet_batch.formats.image import open_image
from unet_batch.store.image import Image
from unet_batch.store.journal import Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.level import Ratio, View
from unet_batch.store.masks import Masks
from unet_batch.store.origin import image_of, recorded
from unet_batch.store.resample import resampled


def open_classes(path: str | Path, *, finished: bool = True) -> Masks:
    """The mask store of classes at ``path``; ``finished`` refuses one with blocks that are still to come.

    Raises:
        MissingError, FormatError: no mask store there.
        InputError: values or objects instead of classes, or work left to do.
    """
    masks = Masks.open(path)
    if masks.layout.kind not in ("multiclass", "multilabel"):
        raise InputError(f"{path}: holds {masks.layout.kind}, which have no classes; give masks of classes")
    pending = blocks_of(path).get(Status.PENDING, 0)
    if finished and pending:
        raise InputError(
            f"{path}: {pending} blocks are not predicted yet; run its `unet-batch predict` again"
        )
    return masks


def blocks_of(path: str | Path) -> dict[Status, int]:
    """Blocks of a store by what became of them; empty for a store without a ledger."""
    try:
        return Ledger.open(path).totals().blocks
    except MissingError:
        return {}


def image_beside(masks: Masks, given: str | Path | None = None) -> Image | None:
    """The image that ``masks`` were made of, as ``given``, else the one around them where it fits.

    Raises:
        MissingError, FormatError, InputError: the image that was given cannot be used.
    """
    path = image_of(masks, given)
    if path is None:
        return None
    try:
        return open_beside(path, masks)
    except UnetBatchError:
        if given is not None:
            raise
        return None


def level_of(masks: Masks) -> int | None:
    """Level of the image whose pixels ``masks`` have; None where objects of older code do not say."""
    of_objects = masks.layout.kind == "instances"
    level = _image_part(masks).get("level")
    return level if isinstance(level, int) else (None if of_objects else 0)


def resample_of(masks: Masks) -> Ratio | None:
    """How many pixels of that level make one of ``masks``, along y and x; None where they are its own."""
    said = _image_part(masks).get("resample")
    if not isinstance(said, list | tuple) or len(said) != 2:
        return None
    y, x = (float(one) for one in said)
    return (y, x) if 0 < min(y, x) < float("inf") else None


def view_of(masks: Masks) -> View:
    """How the image of ``masks`` is opened; a series and axes are no places."""
    said = _image_part(masks)
    axes, series = said.get("stored_axes"), said.get("series")
    return View(axes if isinstance(axes, str) else None, series if isinstance(series, int) else None)


def _image_part(masks: Masks) -> Mapping[str, Any]:
    of_objects = masks.layout.kind == "instances"
    said: Any = masks.attributes.get("provenance" if of_objects else "plan")
    if not of_objects:
        said = said.get("image") if isinstance(said, Mapping) else None
    return said if isinstance(said, Mapping) else {}


def image_unknown(masks: Masks) -> str:
    """A remark that the image is not shown, with the path that the store records as text."""
    said = " ".join(recorded(masks, "image"))
    hint = f"; the store says it was made from {said}: if you trust that, give it too" if said else ""
    return f"{masks.path}: shown without its image{hint}"


def open_beside(path: str | Path, masks: Masks) -> Image:
    """The image at ``path``, at the level that has the pixels of ``masks``.

    Raises:
        MissingError, FormatError: no image there.
        InputError: no level fits.
    """
    image = open_image(path, view_of(masks))
    if (ratio := resample_of(masks)) is not None:
        image = resampled(image.at_level(min(level_of(masks) or 0, len(image.levels) - 1)), ratio)
    if image.shape == masks.layout.shape:
        return image
    for number, level in enumerate(image.levels):
        if level.shape == masks.layout.shape:
            return image.at_level(number)
    raise InputError(
        f"{path}: has shape {image.shape}, the masks {masks.layout.shape}; "
        "give the image that they were made of"
    )

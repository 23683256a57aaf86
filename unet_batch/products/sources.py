"""Sources: the masks, and the image beside them, that products are made from, checked before work begins."""

from pathlib import Path

from unet_batch.errors import InputError, MissingError
from unet_batch.store.image import Image
from unet_batch.store.journal import Status
from unet_batch.store.ledger import Ledger
from unet_batch.store.masks import Masks


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


def open_beside(path: str | Path, masks: Masks) -> Image:
    """The image at ``path``, at the level that has the pixels of ``masks``.

    Raises:
        MissingError, FormatError: no image there.
        InputError: no level fits.
    """
    image = Image.open(path)
    for number, level in enumerate(image.levels):
        if level.shape == masks.layout.shape:
            return image.at_level(number)
    raise InputError(
        f"{path}: has shape {image.shape}, the masks {masks.layout.shape}; "
        "give the image that they were made of"
    )

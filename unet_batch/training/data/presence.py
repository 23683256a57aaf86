"""Presence: which listed classes have labelled pixels in which boxes, and what is said of the others."""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

import numpy as np

from unet_batch.errors import InputError
from unet_batch.tiling import BlockGrid
from unet_batch.training.data.region import Region
from unet_batch.training.data.sources import Part, Sources

# What is looked at to guess why a class is missing: so many pieces of a region, of so many pixels an axis.
_PIECES, _EXTENT = 16, 512
_NAMED = 6


def require_labelled(sources: Sources, known: Collection[str] = ()) -> None:
    """Refuse data that cannot teach a class: one that no pixel of any training box has.

    Args:
        sources: what is learnt from.
        known: classes that the network knows already, as in fine-tuning; these may be missing.

    Raises:
        InputError: it names the classes, and guesses why they are missing.
    """
    missing = [name for name in absent(sources, "train") if name not in known]
    if missing:
        raise InputError(
            f"{sources.train[0].stores.truth.path}: no labelled pixel of {', '.join(missing)} in any "
            f"training box; {_guess(sources)}"
        )


def absent(sources: Sources, part: Part) -> list[str]:
    """The classes without a labelled pixel in the boxes of ``part``; none of regression, or without boxes."""
    counts = sources.counts_of(part)
    if sources.form.head == "regression" or not getattr(sources, part):
        return []
    return [name for name, pixels in counts.items() if not pixels]


def remarks(sources: Sources) -> Iterator[str]:
    """What a person should know of the boxes before a training begins."""
    if absent(sources, "train"):
        yield (
            f"no labelled pixel of {', '.join(absent(sources, 'train'))} in any training box: the network "
            "may forget what it knows of it"
        )
    if not sources.validation:
        yield (
            "no validation boxes: nothing tells whether the network learns more than its training boxes by "
            "heart, and the last network is kept as the best; name `validation` boxes in data.sources"
        )
    judged: tuple[Part, ...] = ("validation", "test")
    for part in judged:
        if missing := absent(sources, part):
            yield (
                f"the {part} boxes have no pixel of {', '.join(missing)}: it has no score there and is in no "
                "mean; move the boxes, or add one that has it"
            )


def _guess(sources: Sources) -> str:
    """Why a class may be missing, from the values that are stored, and the cure."""
    form, stored = sources.form, _stored(sources.train)
    fill = int(form.fill)
    shown = ", ".join(str(value) for value in stored[:_NAMED]) + ", ..." * (len(stored) > _NAMED)
    if fill in stored and form.head == "multiclass":
        last = len(form.names) - 1
        return (
            f"the labels hold {shown}, and {fill} means unlabelled; if it means {form.names[last]} here, "
            f"say so with `remap: {{{fill}: {last}}}` in the source"
        )
    return (
        f"the labels hold {shown}; say with `remap` which class each value is, move or add training "
        "boxes, or take the class out of the model's `classes`"
    )


def _stored(regions: Sequence[Region]) -> list[int]:
    """Values that are stored in some pieces of the boxes."""
    found: set[int] = set()
    for region in islice(regions, _PIECES):
        box, truth = region.box, region.stores.truth
        grid = BlockGrid(box.shape, tuple(min(n, _EXTENT) for n in box.shape))
        for piece in grid.spaced(_PIECES):
            found |= set(np.unique(truth.read(piece.shift(box.start))).tolist())
    return sorted(found)

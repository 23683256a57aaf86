"""Number: objects get their numbers, 1, 2, ..., in the raster order of their first pixels, band by band.

A band is a row of blocks along the first axis. The first pixel of an object lies in one band, so bands can
be numbered in turn, and only one of them is held at a time.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import prod

import numpy as np
from numpy.typing import NDArray

from unet_batch.engine.parts import Parts
from unet_batch.errors import InputError
from unet_batch.products.objects.fragments import NAMES, Fragments, chosen, joined
from unet_batch.products.objects.plan import ObjectsPlan
from unet_batch.products.objects.unite import Union

_MOST = 2**32 - 2  # object numbers are uint32, and the last is kept free


@dataclass(frozen=True, slots=True)
class Band:
    """Objects whose first pixels lie in one row of blocks, in order, from number ``begin`` on.

    Attributes:
        begin: number of the first object.
        objects: one row per object.
        ids: for each block of the band, the object number of each of its local labels; that of 0 is 0.
    """

    begin: int
    objects: Fragments
    ids: dict[int, NDArray[np.uint32]]


def bands(plan: ObjectsPlan, parts: Parts, numbers: Sequence[int], union: Union) -> Iterator[Band]:
    """All objects of at least ``plan.smallest`` pixels; ``numbers`` are the blocks that have fragments."""
    ids_of_groups = np.zeros(len(union.whole["first"]), np.uint32)
    band_of_groups = union.whole["first"] // prod(plan.shape[1:]) // plan.block[0]
    begin = 1
    for row, members in groupby(sorted(numbers), key=lambda number: plan.grid.index(number)[0]):
        blocks, groups = list(members), np.flatnonzero(band_of_groups == row)
        alone = [union.groups_of(number) < 0 for number in blocks]
        tables = [chosen(parts.read(number, NAMES), mine) for number, mine in zip(blocks, alone, strict=True)]
        table = joined([*tables, chosen(union.whole, groups)])
        ids, order = _numbered(table, plan.smallest, begin)
        *single, shared = np.split(ids, np.cumsum([len(one["first"]) for one in tables]))
        ids_of_groups[groups] = shared
        found = {}
        for number, mine, own in zip(blocks, alone, single, strict=True):
            of_labels = np.zeros(len(mine) + 1, np.uint32)
            of_labels[1:][mine] = own
            of_labels[1:][~mine] = ids_of_groups[union.groups_of(number)[~mine]]
            found[number] = of_labels
        yield Band(begin, chosen(table, order), found)
        begin += len(order)


def _numbered(table: Fragments, smallest: int, begin: int) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The object number of each row, 0 if it is too small, and the rows of the others in order."""
    order = np.lexsort((table["kind"], table["first"]))
    order = order[table["pixels"][order] >= smallest]
    if begin + len(order) > _MOST:
        raise InputError(f"more than {_MOST:,} objects; leave out small ones with `smallest`")
    ids = np.zeros(len(table["first"]), np.uint32)
    ids[order] = np.arange(begin, begin + len(order))
    return ids, order

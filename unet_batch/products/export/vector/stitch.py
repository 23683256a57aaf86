"""Stitch: fragments of all blocks, row of blocks by row, into finished features.

Kept in memory are what ``under_way`` says and the fragments of two rows of blocks; the rest waits in files.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from unet_batch.products.export.vector.features import Facts, Features
from unet_batch.products.export.vector.fragments import Chains, Fragments
from unet_batch.products.export.vector.rings import Rings, cycles, joined, ragged, simple
from unet_batch.products.export.vector.under_way import UnderWay

Load = Callable[[int], Fragments]
"""The fragments of a block by its number in raster order."""


def stitched(load: Load, counts: tuple[int, int], connectivity: int = 4) -> Iterator[Features]:
    """All features that cross block edges, each once; at most one batch for each of ``counts[0]`` rows.

    Args:
        load: asked for the same block again once a feature with a fragment in it is finished.
        counts: rows and columns of blocks.
        connectivity: 8 where features go on across corners.
    """
    under = UnderWay.nothing()
    for row in range(counts[0]):
        blocks = [row * counts[1] + column for column in range(counts[1])]
        under = under.with_row([load(block) for block in blocks], blocks, connectivity)
        under, finished = under.divided(last=row == counts[0] - 1)
        if finished.parts:
            yield _assembled(finished, load)


def _assembled(finished: UnderWay, load: Load) -> Features:
    """Finished parts as features: their rings, and their chains joined into rings."""
    of_block: dict[int, list[tuple[int, int]]] = {}
    for part, members in enumerate(finished.parts):
        for block, number in members:
            of_block.setdefault(block, []).append((number, part))
    rings, chains, columns = [], [], []
    for block in sorted(of_block):
        fragments, (number, part) = load(block), np.asarray(of_block[block]).T
        closed, opened = fragments.owned(number, part)
        rings.append(closed)
        chains.append(opened)
        columns.append((part, *fragments.facts.take(number).columns()))
    owner, *facts = (np.concatenate(one) for one in zip(*columns, strict=True))
    total = Facts(*facts).summed(finished.feature[owner], int(finished.feature.max()) + 1)
    return Features.of(joined([*rings, simple(_linked(chains))]), finished.feature, total)


def _linked(chains: Sequence[Chains]) -> Rings:
    """Chains joined end to beginning until they close. Vertices that only a block's end made go."""
    lines = joined([one.lines for one in chains])
    begins, ends, loose = (
        np.concatenate([getattr(one, name) for one in chains]) for name in ("begins", "ends", "loose")
    )
    by_name = np.argsort(begins)
    following = by_name[np.searchsorted(begins[by_name], ends)]
    order, offsets = cycles(following, np.arange(len(lines)))
    # The last vertex of a chain is the first of the next.
    index, at = ragged(lines.offsets[:-1][order], lines.lengths[order] - 1)
    rings = Rings(lines.xy[index], at[offsets], lines.owner[order[offsets[:-1]]])
    first = np.zeros(len(index), np.bool_)
    first[at[:-1]] = loose[order]
    return rings.without(first & rings.straight())

"""Stitch: fragments of all blocks, row of blocks by row, into finished features.

A feature is finished when none of its pixels lies on the lowest row seen. A feature has parts, each connected
by sides; only features that go on across corners have more than one. Kept in memory are which fragments
belong together (``OpenFeatures``) and the fragments of two rows of blocks; the rest waits in files.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unet_batch.extras import needed
from unet_batch.products.export.vector.features import Facts, Features
from unet_batch.products.export.vector.fragments import Chains, Fragments
from unet_batch.products.export.vector.rings import Ints, Rings, cycles, joined, ragged, simple

Members = list[tuple[int, int]]
"""Fragments as block and number in it."""


@dataclass(frozen=True, slots=True)
class OpenFeatures:
    """Parts, and the row of pixels where they go on.

    Args:
        parts: the fragments of each part.
        feature: (parts,) number of the feature that each belongs to.
        classes: (parts,) the class of each.
        frontier: (width,) the part at each pixel of the lowest row seen, or -1.
    """

    parts: list[Members]
    feature: Ints
    classes: Ints
    frontier: Ints

    @classmethod
    def nothing(cls) -> "OpenFeatures":
        """Before the first row."""
        none = np.empty(0, np.int64)
        return cls([], none, none, none)

    def with_row(self, row: Sequence[Fragments], blocks: Sequence[int], connectivity: int) -> "OpenFeatures":
        """With a row of blocks below; parts that meet are one, and features that touch.

        The lists of this one's parts go over to the new one.
        """
        first = np.cumsum([len(self.parts), *(len(one.feature) for one in row)])[:-1]
        classes = np.concatenate([self.classes, *(one.facts.classes for one in row)])
        meeting = self._neighbours(row, first, classes, diagonal=False)
        part = _components(len(classes), meeting)
        touching = self._neighbours(row, first, classes, diagonal=True) if connectivity == 8 else meeting
        feature = _told_apart([self.feature, *(one.feature for one in row)])
        feature = _components(int(feature.max(initial=-1)) + 1, feature[touching])[feature]
        own = [[(block, i)] for block, one in zip(blocks, row, strict=True) for i in range(len(one.feature))]
        parts = _united(self.parts + own, part)
        frontier = _side("bottom", row, first)
        frontier[frontier >= 0] = part[frontier[frontier >= 0]]
        return OpenFeatures(parts, _by(part, feature, len(parts)), _by(part, classes, len(parts)), frontier)

    def divided(self, *, last: bool) -> tuple["OpenFeatures", "OpenFeatures"]:
        """What may go on below the lowest row, and what is finished; all of it after the ``last`` row."""
        alive = np.zeros(int(self.feature.max(initial=-1)) + 1, np.bool_)
        if not last:
            alive[self.feature[self.frontier[self.frontier >= 0]]] = True
        kept = alive[self.feature]
        return self._chosen(kept), self._chosen(~kept)

    def _chosen(self, chosen: NDArray[np.bool_]) -> "OpenFeatures":
        number = np.append(np.where(chosen, np.cumsum(chosen) - 1, -1), -1)
        parts = [self.parts[i] for i in np.flatnonzero(chosen)]
        feature = np.unique(self.feature[chosen], return_inverse=True)[1]
        return OpenFeatures(parts, feature.astype(np.int64), self.classes[chosen], number[self.frontier])

    def _neighbours(self, row: Sequence[Fragments], first: Ints, classes: Ints, *, diagonal: bool) -> Ints:
        """(N, 2) pairs of parts of one class, side by side across an edge; or also corner to corner."""
        pairs = [
            _pairs(_side("right", [one], [begin]), _side("left", [other], [following]), diagonal=diagonal)
            for one, other, begin, following in zip(row[:-1], row[1:], first[:-1], first[1:], strict=True)
        ]
        if len(self.frontier):
            pairs.append(_pairs(self.frontier, _side("top", row, first), diagonal=diagonal))
        found: Ints = np.concatenate([np.empty((0, 2), np.int64), *pairs])
        return np.asarray(found[classes[found[:, 0]] == classes[found[:, 1]]], np.int64)


def _side(name: str, row: Sequence[Fragments], first: Sequence[int] | Ints) -> Ints:
    """The parts along one side of all blocks of a row, whose numbers begin with ``first`` in each; or -1."""
    sides = [one.sides[name] for one in row]
    shifted = [np.where(side >= 0, side + begin, -1) for side, begin in zip(sides, first, strict=True)]
    return np.concatenate(shifted)


def _pairs(one: Ints, other: Ints, *, diagonal: bool) -> Ints:
    """(N, 2) pairs, each once, of what lies side by side; or also corner to corner."""
    shifts = [(one, other), *([(one[1:], other[:-1]), (one[:-1], other[1:])] if diagonal else [])]
    left, right = (np.concatenate(both) for both in zip(*shifts, strict=True))
    both = (left >= 0) & (right >= 0)
    span = int(right.max(initial=0)) + 1
    return np.column_stack(np.divmod(np.unique(left[both] * span + right[both]), span))


def _components(count: int, pairs: Ints) -> Ints:
    """(count,) number of the connected component of each, for undirected ``pairs``."""
    with needed("products", "the export of polygons"):
        from scipy.sparse import coo_array  # noqa: PLC0415 - an extra
        from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    if not count:
        return np.empty(0, np.int64)
    graph = coo_array((np.ones(len(pairs), np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _told_apart(numbers: Sequence[Ints]) -> Ints:
    """Several counts of features as one."""
    begins = np.cumsum([0, *(int(one.max(initial=-1)) + 1 for one in numbers[:-1])])
    return np.concatenate([one + begin for one, begin in zip(numbers, begins, strict=True)])


def _united(parts: Sequence[Members], number: Ints) -> list[Members]:
    """The fragments of all parts with the same number together."""
    found: list[Members] = [[] for _ in range(int(number.max(initial=-1)) + 1)]
    for at, members in zip(number.tolist(), parts, strict=True):
        # The longer list stays, so that each fragment is copied seldom.
        long, short = (members, found[at]) if len(members) > len(found[at]) else (found[at], members)
        long.extend(short)
        found[at] = long
    return found


def _by(number: Ints, values: Ints, count: int) -> Ints:
    """``values`` by ``number``; those with the same number are the same."""
    found = np.zeros(count, np.int64)
    found[number] = values
    return found


Load = Callable[[int], Fragments]
"""The fragments of a block by its number in raster order."""


def stitched(load: Load, counts: tuple[int, int], connectivity: int = 4) -> Iterator[Features]:
    """All features that cross block edges, each once; at most one batch for each of ``counts[0]`` rows.

    Args:
        load: asked for the same block again once a feature with a fragment in it is finished.
        counts: rows and columns of blocks.
        connectivity: 8 where features go on across corners.
    """
    under = OpenFeatures.nothing()
    for row in range(counts[0]):
        blocks = [row * counts[1] + column for column in range(counts[1])]
        under = under.with_row([load(block) for block in blocks], blocks, connectivity)
        under, finished = under.divided(last=row == counts[0] - 1)
        if finished.parts:
            yield _assembled(finished, load)


def _assembled(finished: OpenFeatures, load: Load) -> Features:
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

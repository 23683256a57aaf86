"""Stitch: fragments of all blocks, row of blocks by row, into finished features.

A feature is finished when no pixel of it lies on the lower edge of the blocks seen so far. Kept in memory
are one row of pixels and, of features under way, which fragments they consist of; the vertices wait in files.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from unet_batch.products.export.extras import needed
from unet_batch.products.export.vector.features import Facts, Features
from unet_batch.products.export.vector.fragments import Chains, Fragments
from unet_batch.products.export.vector.rings import Ints, Rings, cycles, joined, ragged, simple

Load = Callable[[int], Fragments]
"""The fragments of a block by its number in raster order."""


@dataclass(slots=True)
class _Under:
    """Features under way: for each part its fragments, (block, number) each, and its feature.

    ``frontier`` is the part at each pixel of the lowest row seen, or -1.
    """

    parts: list[list[tuple[int, int]]]
    feature: Ints
    classes: Ints
    frontier: Ints = field(default_factory=lambda: np.empty(0, np.int64))


def stitched(load: Load, counts: tuple[int, int], connectivity: int = 4) -> Iterator[Features]:
    """All features that cross block edges, each once; at most one batch for each of ``counts[0]`` rows.

    Args:
        load: asked for the same block again while a feature with a fragment in it is under way.
        counts: rows and columns of blocks.
        connectivity: 8 where features go on across corners.
    """
    none = np.empty(0, np.int64)
    under = _Under([], none, none)
    for row in range(counts[0]):
        blocks = [row * counts[1] + column for column in range(counts[1])]
        under = _with_row(under, [load(block) for block in blocks], blocks, connectivity)
        last = row == counts[0] - 1
        under, finished = _finished(under, last=last)
        if finished.parts:
            yield _assembled(finished, load)


def _with_row(under: _Under, row: Sequence[Fragments], blocks: Sequence[int], connectivity: int) -> _Under:
    """What is under way with a row of blocks below it, parts and features that meet made one."""
    shifts = np.cumsum([len(under.parts), *(len(one.feature) for one in row)])
    own = [[(block, i)] for block, one in zip(blocks, row, strict=True) for i in range(len(one.feature))]
    classes = np.concatenate([under.classes, *(one.facts.classes for one in row)])
    meet = _meetings(under.frontier, row, shifts[:-1], diagonal=False)
    meet = meet[classes[meet[:, 0]] == classes[meet[:, 1]]]
    part = _components(len(classes), meet)
    feature = _features(under, row, shifts)
    touch = meet
    if connectivity == 8:
        touch = _meetings(under.frontier, row, shifts[:-1], diagonal=True)
        touch = touch[classes[touch[:, 0]] == classes[touch[:, 1]]]
    feature = _components(int(feature.max(initial=-1)) + 1, feature[touch])[feature]
    parts: list[list[tuple[int, int]]] = [[] for _ in range(int(part.max(initial=-1)) + 1)]
    for number, fragments in zip(part.tolist(), under.parts + own, strict=True):
        if len(parts[number]) < len(fragments):  # the longer list stays, so that each is copied seldom
            parts[number], fragments = fragments, parts[number]  # noqa: PLW2901
        parts[number].extend(fragments)
    bottom = [_numbered(one.sides["bottom"], shift) for one, shift in zip(row, shifts[:-1], strict=True)]
    frontier = np.concatenate(bottom)
    frontier[frontier >= 0] = part[frontier[frontier >= 0]]
    return _Under(parts, _by(part, feature, len(parts)), _by(part, classes, len(parts)), frontier)


def _by(number: Ints, values: Ints, count: int) -> Ints:
    """``values`` by ``number``; those with the same number are the same."""
    found = np.zeros(count, np.int64)
    found[number] = values
    return found


def _features(under: _Under, row: Sequence[Fragments], shifts: Ints) -> Ints:
    """Numbers of features, those of each block apart from all others."""
    found, begin = [under.feature], int(under.feature.max(initial=-1)) + 1
    for one in row:
        found.append(one.feature + begin)
        begin += int(one.feature.max(initial=-1)) + 1
    assert len(shifts) == len(row) + 1
    return np.concatenate(found)


def _numbered(side: Ints, shift: int) -> Ints:
    return np.where(side >= 0, side + shift, -1)


def _meetings(above: Ints, row: Sequence[Fragments], shifts: Ints, *, diagonal: bool) -> Ints:
    """(N, 2) pairs of parts that lie side by side across an edge; with ``diagonal`` or corner to corner."""
    sides = {
        name: [_numbered(one.sides[name], s) for one, s in zip(row, shifts, strict=True)]
        for name in ("top", "left", "right")
    }
    pairs = [
        _pairs(left, right, diagonal=diagonal)
        for left, right in zip(sides["right"][:-1], sides["left"][1:], strict=True)
    ]
    if len(above):
        pairs.append(_pairs(above, np.concatenate(sides["top"]), diagonal=diagonal))
    return np.concatenate([np.empty((0, 2), np.int64), *pairs])


def _pairs(one: Ints, other: Ints, *, diagonal: bool) -> Ints:
    pairs = [np.column_stack((one, other))]
    if diagonal:
        pairs += [np.column_stack((one[1:], other[:-1])), np.column_stack((one[:-1], other[1:]))]
    both = np.concatenate(pairs)
    return np.unique(both[(both >= 0).all(axis=1)], axis=0)


def _components(count: int, pairs: Ints) -> Ints:
    """(count,) number of the connected component of each, for undirected ``pairs``."""
    with needed("products", "the export of polygons"):
        from scipy.sparse import coo_array  # noqa: PLC0415 - an extra
        from scipy.sparse.csgraph import connected_components  # noqa: PLC0415

    if not count:
        return np.empty(0, np.int64)
    graph = coo_array((np.ones(len(pairs), np.bool_), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _finished(under: _Under, *, last: bool) -> tuple[_Under, _Under]:
    """What goes on below the lowest row seen, and what does not."""
    alive = np.zeros(int(under.feature.max(initial=-1)) + 1, np.bool_)
    if not last:
        alive[under.feature[under.frontier[under.frontier >= 0]]] = True
    kept = alive[under.feature]
    number = np.cumsum(kept) - 1
    frontier = np.where(under.frontier >= 0, number[under.frontier], -1) if len(number) else under.frontier
    return _part_of(under, kept, frontier), _part_of(under, ~kept, np.empty(0, np.int64))


def _part_of(under: _Under, chosen: NDArray[np.bool_], frontier: Ints) -> _Under:
    parts = [under.parts[i] for i in np.flatnonzero(chosen)]
    feature = np.unique(under.feature[chosen], return_inverse=True)[1]
    return _Under(parts, feature.astype(np.int64), under.classes[chosen], frontier)


def _assembled(finished: _Under, load: Load) -> Features:
    """Finished parts as features: their rings, and their chains joined into rings."""
    blocks: dict[int, list[tuple[int, int]]] = {}
    for part, fragments in enumerate(finished.parts):
        for block, number in fragments:
            blocks.setdefault(block, []).append((number, part))
    rings: list[Rings] = []
    chains: list[Chains] = []
    facts: list[tuple[Facts, Ints]] = []
    for block in sorted(blocks):
        own = load(block)
        number, part = np.asarray(blocks[block]).T
        owner = np.full(len(own.feature), -1, np.int64)
        owner[number] = part
        rings.append(_owned(own.rings, owner)[0])
        lines, kept = _owned(own.chains.lines, owner)
        chains.append(Chains(lines, own.chains.begins[kept], own.chains.ends[kept], own.chains.loose[kept]))
        facts.append((own.facts.take(number), part))
    whole = joined([*rings, simple(_linked(chains))])
    columns = [np.concatenate(one) for one in zip(*(fact.columns() for fact, _ in facts), strict=True)]
    feature = finished.feature[np.concatenate([part for _, part in facts])]
    total = Facts(*columns).summed(feature, int(finished.feature.max()) + 1)
    return Features.of(whole, finished.feature, total)


def _owned(rings: Rings, owner: Ints) -> tuple[Rings, Ints]:
    """The rings whose owner has a new number, with it; and which they are."""
    kept = np.flatnonzero(owner[rings.owner] >= 0)
    taken = rings.take(kept)
    return Rings(taken.xy, taken.offsets, owner[taken.owner]), kept


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

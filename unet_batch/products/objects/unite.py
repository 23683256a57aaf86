"""Unite: which fragments of different blocks are one object. Holds those alone that meet another block's.

A block sees one pixel more than its own on every high side. That pixel is some neighbour's own: both gave it
a label, so the two labels are one object. Neighbours across edges and corners need no rule of their own. The
labels where blocks overlap, their faces, are kept as runs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from unet_batch.engine.parts import Parts
from unet_batch.instances.labels import Labels
from unet_batch.products.objects.fragments import NAMES, Fragments, chosen, empty, joined, merged
from unet_batch.products.objects.plan import ObjectsPlan

Stored = dict[str, NDArray[np.int64]]


def encode(labels_P: Labels, own: Sequence[int]) -> Stored:
    """The planes of (P, *seen) labels that others will ask for; ``own`` pixels come first on each axis."""
    stored: Stored = {}
    core = labels_P[(slice(None), *map(slice, own))]
    for axis, extent in enumerate(own):
        stored |= _runs(f"face_low{axis}", np.take(core, 0, axis=axis + 1))
        if labels_P.shape[axis + 1] > extent:
            stored |= _runs(f"face_high{axis}", np.take(labels_P, extent, axis=axis + 1))
    return stored


def steps(dims: int) -> list[tuple[int, ...]]:
    """Where the neighbours of a block lie that it overlaps with: one step up on at least one axis."""
    return [step for step in product((0, 1), repeat=dims) if any(step)]


def same(
    lower: Mapping[str, NDArray[np.int64]], upper: Mapping[str, NDArray[np.int64]], step: Sequence[int]
) -> NDArray[np.int64]:
    """(N, 2) labels of the block ``lower`` and of its neighbour ``upper``, ``step`` further, that are one."""
    axis = step.index(1)
    rest = [s for at, s in enumerate(step) if at != axis]
    theirs = _plane(upper, f"face_low{axis}")
    theirs = theirs[(slice(None), *(slice(0, 1) if s else slice(None) for s in rest))]
    ours = _plane(lower, f"face_high{axis}")
    extents = theirs.shape[1:]
    ours = ours[
        (slice(None), *(slice(-1, None) if s else slice(n) for s, n in zip(rest, extents, strict=True)))
    ]
    pairs = np.unique(ours[ours > 0] << 32 | theirs[ours > 0])
    return np.column_stack([pairs >> 32, pairs & 0xFFFFFFFF])


def _runs(name: str, plane: Labels) -> Stored:
    flat = plane.reshape(-1).astype(np.int64)
    start = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    return {
        f"{name}_shape": np.array(plane.shape),
        f"{name}_length": np.diff(start, append=flat.size),
        f"{name}_label": flat[start],
    }


def _plane(stored: Mapping[str, NDArray[np.int64]], name: str) -> NDArray[np.int64]:
    flat = np.repeat(stored[f"{name}_label"], stored[f"{name}_length"])
    return flat.reshape(tuple(stored[f"{name}_shape"]))


GroupsOf = Callable[[int], NDArray[np.int64]]
_KEPT_FACES = 256  # blocks whose faces are kept while their neighbours along the Z-order are compared


@dataclass(frozen=True, slots=True)
class Union:
    """Groups of fragments that are one object each. A node is a fragment's number over all blocks.

    Attributes:
        first: node of the first fragment of each block, by the block's number.
        nodes: the nodes that have company, in order.
        groups: the group of each, from 0 on.
        whole: the groups' fragments, joined: one row per group.
    """

    first: NDArray[np.int64]
    nodes: NDArray[np.int64]
    groups: NDArray[np.int64]
    whole: Fragments

    def groups_of(self, number: int) -> NDArray[np.int64]:
        """The group of each fragment of a block, -1 for one that is an object of its own."""
        return _groups_of(self.first, self.nodes, self.groups, number)


def unite(plan: ObjectsPlan, parts: Parts, blocks: Mapping[int, int]) -> Union:
    """The union over blocks, by number, that left so many fragments each in ``parts``."""
    numbers = list(blocks)
    of_block = np.zeros(len(plan.grid) + 1, np.int64)
    of_block[np.asarray(numbers, np.int64) + 1] = list(blocks.values())
    first = np.cumsum(of_block)
    pairs = _pairs(plan, parts, numbers, first)
    nodes, ends = np.unique(pairs, return_inverse=True)
    ends = ends.reshape(-1, 2)
    graph = coo_array(
        (np.ones(len(ends), np.bool_), (ends[:, 0], ends[:, 1])), shape=(len(nodes), len(nodes))
    )
    count, groups = connected_components(graph, directed=False)
    groups = groups.astype(np.int64)
    whole = _whole(plan, parts, numbers, lambda number: _groups_of(first, nodes, groups, number), count)
    return Union(first, nodes, groups, whole)


def _pairs(
    plan: ObjectsPlan, parts: Parts, numbers: Sequence[int], first: NDArray[np.int64]
) -> NDArray[np.int64]:
    """(N, 2) nodes that are one object, as neighbouring blocks see them."""

    @lru_cache(maxsize=_KEPT_FACES)
    def stored(number: int) -> dict[str, NDArray[Any]]:
        return parts.read(number, ("face_",))

    present, outer, found = set(numbers), len(plan.shape) - plan.dims, [np.zeros((0, 2), np.int64)]
    for number in map(int, plan.grid.z_order(np.asarray(numbers, np.int64))):
        index = plan.grid.index(number)
        for step in steps(plan.dims):
            above = (*index[:outer], *(i + s for i, s in zip(index[outer:], step, strict=True)))
            if any(i >= n for i, n in zip(above, plan.grid.counts, strict=True)):
                continue
            other = plan.grid.number(above)
            if other in present:
                pairs = same(stored(number), stored(other), step)
                found.append(pairs - 1 + [first[number], first[other]])
    return np.concatenate(found)


def _whole(
    plan: ObjectsPlan, parts: Parts, numbers: Sequence[int], groups_of: GroupsOf, count: int
) -> Fragments:
    """One row per group; crossings between two fragments that prove to be one object are taken off."""
    rows, groups, inner = [], [], np.zeros((count, 4), np.int64)
    for number in numbers:
        part, group = parts.read(number, (*NAMES, "touches")), groups_of(number)
        shared = group >= 0
        rows.append(chosen({name: part[name] for name in NAMES}, shared))
        groups.append(group[shared])
        one, other, direction, times = part["touches"].T
        same = (group[one - 1] == group[other - 1]) & (group[one - 1] >= 0)
        np.add.at(inner, (group[one - 1][same], direction[same]), 2 * times[same])
    if not count:
        return joined(rows) if rows else empty(0, plan.dims, 0)
    whole = merged(joined(rows), np.concatenate(groups), count)
    return {**whole, "crossings": whole["crossings"] - inner}


def _groups_of(
    first: NDArray[np.int64], nodes: NDArray[np.int64], groups: NDArray[np.int64], number: int
) -> NDArray[np.int64]:
    begin, end = np.searchsorted(nodes, first[number : number + 2])
    found = np.full(first[number + 1] - first[number], -1)
    found[nodes[begin:end] - first[number]] = groups[begin:end]
    return found

"""Rings: closed outlines on the pixel grid, many at once. Whole numbers; knows no classes and no files.

A vertex is a corner of pixels, (x, y) with y down. A region lies right of its rings' direction, so outer
rings have a positive area and holes a negative one.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.extras import needed

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rings:
    """Rings in sequence, the first vertex not repeated.

    Args:
        xy: (N, 2) vertices of all rings.
        offsets: (R + 1,) where each ring begins; the last is N.
        owner: (R,) number of the region that each ring bounds.
    """

    xy: Ints
    offsets: Ints
    owner: Ints

    def __len__(self) -> int:
        return len(self.owner)

    @property
    def lengths(self) -> Ints:
        """(R,) vertices of each ring."""
        return np.diff(self.offsets)

    @property
    def after(self) -> Ints:
        """(N,) position of each vertex's successor in its ring."""
        after = np.arange(1, len(self.xy) + 1)
        after[self.offsets[1:] - 1] = self.offsets[:-1]
        return after

    @property
    def before(self) -> Ints:
        """(N,) position of each vertex's predecessor in its ring."""
        before = np.arange(-1, len(self.xy) - 1)
        before[self.offsets[:-1]] = self.offsets[1:] - 1
        return before

    def doubled_areas(self) -> Ints:
        """(R,) twice the signed area in pixels: whole numbers, whatever the vertices."""
        x, y = self.xy.T
        after = self.after
        return self._sums(x * y[after] - x[after] * y).astype(np.int64)

    def weighted_areas(self, cumulative: NDArray[np.float64]) -> NDArray[np.float64]:
        """(R,) signed area where a pixel of row y is worth cumulative[y + 1] - cumulative[y].

        Only for rings along the pixels' edges.
        """
        x, y = self.xy.T
        # Upright edges add nothing: the integral of the cumulative weight along x.
        return self._sums((x - x[self.after]) * cumulative[y]).astype(np.float64)

    def take(self, chosen: Ints) -> "Rings":
        """The rings with these numbers, in this order."""
        index, offsets = ragged(self.offsets[chosen], self.lengths[chosen])
        return Rings(self.xy[index], offsets, self.owner[chosen])

    def without(self, dropped: NDArray[np.bool_]) -> "Rings":
        """The rings without the vertices marked; no ring may lose all."""
        kept = np.concatenate(([0], np.cumsum(~dropped)))
        return Rings(self.xy[~dropped], kept[self.offsets], self.owner)

    def straight(self) -> NDArray[np.bool_]:
        """(N,) which vertices lie on the line between their neighbours."""
        (x, y), (px, py), (nx, ny) = self.xy.T, self.xy[self.before].T, self.xy[self.after].T
        return np.asarray((x - px) * (ny - y) == (nx - x) * (y - py))

    def _sums(self, values: NDArray[Any]) -> NDArray[Any]:
        return np.add.reduceat(values, self.offsets[:-1]) if len(self) else values[:0]


def ragged(starts: Ints, lengths: Ints) -> tuple[Ints, Ints]:
    """Positions of many runs laid end to end, and the offsets of the runs in that sequence."""
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    index = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
    return index, offsets


def joined(parts: list[Rings]) -> Rings:
    """All rings of ``parts``, in their order."""
    if not parts:
        none = np.empty(0, np.int64)
        return Rings(none.reshape(0, 2), np.zeros(1, np.int64), none)
    shifts = np.cumsum([0, *(len(part.xy) for part in parts)])
    offsets = [part.offsets[:-1] + shift for part, shift in zip(parts, shifts[:-1], strict=True)]
    return Rings(
        np.concatenate([part.xy for part in parts]),
        np.concatenate([*offsets, shifts[-1:]]),
        np.concatenate([part.owner for part in parts]),
    )


def cycles(successor: Ints, members: Ints) -> tuple[Ints, Ints]:
    """The cycles of a permutation: its ``members`` in order of walking, and where each cycle begins.

    Cycles begin with their first member, in the order of these; the offsets end with the count of members.
    """
    with needed("products", "the export of polygons"):
        from scipy.sparse.csgraph import (  # noqa: PLC0415 - an extra
            connected_components,
            depth_first_order,
        )

    count = len(members)
    if not count:
        return members, np.zeros(1, np.int64)
    number = np.zeros(len(successor), np.int32)
    number[members] = np.arange(count)
    onward = number[successor[members]]
    cycle = connected_components(_graph(onward), directed=False)[1]
    first = np.unique(cycle, return_index=True)[1]
    turn = np.argsort(first)
    # Cut open and laid end to end the cycles are one path, which scipy walks three times sooner than Python.
    before = np.empty_like(onward)
    before[onward] = np.arange(count)
    onward[before[first[turn]]] = np.roll(first[turn], -1)
    walked = depth_first_order(_graph(onward), first[turn[0]], return_predecessors=False)
    lengths = np.bincount(cycle)[turn]
    return members[walked], np.concatenate(([0], np.cumsum(lengths)))


def _graph(onward: NDArray[np.int32]) -> Any:
    """An edge from each node to the next, as scipy takes it."""
    from scipy.sparse import csr_array  # noqa: PLC0415 - ``cycles`` has needed it

    count = len(onward)
    return csr_array((np.ones(count), onward, np.arange(count + 1, dtype=np.int32)), shape=(count, count))


def simple(rings: Rings) -> Rings:
    """Rings that pass through a vertex twice become rings that touch there.

    So an outline that runs into its own hole at a corner becomes an outline and a hole, as a valid polygon
    asks for.
    """
    number = np.repeat(np.arange(len(rings)), rings.lengths)
    x, y = (rings.xy - rings.xy.min(axis=0, initial=0)).T
    key = (number * (y.max(initial=0) + 1) + y) * (x.max(initial=0) + 1) + x
    _, first, count = np.unique(key, return_index=True, return_counts=True)
    repeated = np.zeros(len(rings), np.bool_)
    repeated[number[first[count > 1]]] = True
    if not repeated.any():
        return rings
    split = [_split(rings.take(np.array([ring]))) for ring in np.flatnonzero(repeated)]
    return joined([rings.take(np.flatnonzero(~repeated)), *split])


def _split(ring: Rings) -> Rings:
    """One ring as rings without repeated vertices: where a vertex comes again, what lies between is one."""
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    found: list[list[tuple[int, int]]] = []
    for x, y in ring.xy.tolist():
        vertex = (x, y)
        if vertex in place:
            start = place[vertex]
            found.append(path[start:])
            for passed in path[start:]:
                del place[passed]
            del path[start:]
        place[vertex] = len(path)
        path.append(vertex)
    found.append(path)
    offsets = np.cumsum([0, *(len(one) for one in found)])
    return Rings(
        np.concatenate([np.asarray(one, np.int64) for one in found]),
        offsets,
        np.repeat(ring.owner, len(found)),
    )

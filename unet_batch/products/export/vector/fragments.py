"""Fragments: the regions of a block that go on in its neighbours, as closed rings and open chains.

Where a region crosses the block's edge the edge is no outline: that stretch is taken out of its rings, and
what is left are chains. A chain begins with an edge of the pixel grid, and ends at the vertex where the
outline goes on with an edge of another block. So its ends have names, and the next chain is that whose
beginning has the name of this one's end: whole numbers, whatever the blocks.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.products.export.vector.features import Facts, no_facts
from unet_batch.products.export.vector.rings import Ints, Rings, joined, ragged
from unet_batch.products.export.vector.trace import EAST, NORTH, SOUTH, WEST, Around
from unet_batch.store.io_errors import written_whole


def along_the_edge(rings: Rings, shape: tuple[int, int]) -> Ints:
    """(N,) heading of the stretch after each vertex where it runs along the block's edge, else -1."""
    (height, width), (x, y), (nx, ny) = shape, rings.xy.T, rings.xy[rings.after].T
    heading = np.full(len(x), -1, np.int64)
    heading[(y == 0) & (ny == 0) & (nx > x)] = EAST
    heading[(x == width) & (nx == width) & (ny > y)] = SOUTH
    heading[(y == height) & (ny == height) & (nx < x)] = WEST
    heading[(x == 0) & (nx == 0) & (ny < y)] = NORTH
    return heading


SIDES = ("top", "bottom", "left", "right")


@dataclass(frozen=True, slots=True)
class Chains:
    """Open outlines. The last vertex of each is the first of the one that follows.

    Args:
        lines: the vertices; ``owner`` is the fragment.
        begins: name of the edge that each begins with.
        ends: name of the edge that each is followed by.
        loose: whether the first vertex is one only because a block ends there.
    """

    lines: Rings
    begins: Ints
    ends: Ints
    loose: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Fragments:
    """The unfinished regions of a block; vertices are those of the whole image.

    Args:
        facts: of each fragment.
        feature: number of each fragment's feature in the block.
        rings: closed already; the owner is the fragment.
        chains: open; the owner is the fragment.
        sides: fragment, or -1, of each pixel along the block's four sides.
    """

    facts: Facts
    feature: Ints
    rings: Rings
    chains: Chains
    sides: dict[str, Ints]

    def owned(self, number: Ints, owner: Ints) -> tuple[Rings, Chains]:
        """Rings and chains of the fragments with these numbers, whose new owners these are."""
        owners = np.full(len(self.feature), -1, np.int64)
        owners[number] = owner
        chains = self.chains
        lines, kept = _owned(chains.lines, owners)
        opened = Chains(lines, chains.begins[kept], chains.ends[kept], chains.loose[kept])
        return _owned(self.rings, owners)[0], opened

    def save(self, path: Path) -> None:
        """Write to a file."""
        rings, chains = self.rings, self.chains
        values: dict[str, Any] = {
            **{f"fact{i}": column for i, column in enumerate(self.facts.columns())},
            "feature": self.feature,
            **_ring_arrays("ring", rings),
            **_ring_arrays("chain", chains.lines),
            "begins": chains.begins,
            "ends": chains.ends,
            "loose": chains.loose,
            **self.sides,
        }
        with written_whole(path) as file:
            np.savez(file, **values)

    @classmethod
    def load(cls, path: Path) -> "Fragments":
        """What ``save`` wrote."""
        with np.load(path) as values:
            return cls(
                Facts(*(values[f"fact{i}"] for i in range(4))),
                values["feature"],
                _rings_of("ring", values),
                Chains(_rings_of("chain", values), values["begins"], values["ends"], values["loose"]),
                {side: values[side] for side in SIDES},
            )


def _owned(rings: Rings, owners: Ints) -> tuple[Rings, Ints]:
    """The rings whose owner has a new number, with it; and which they are."""
    kept = np.flatnonzero(owners[rings.owner] >= 0)
    taken = rings.take(kept)
    return Rings(taken.xy, taken.offsets, owners[taken.owner]), kept


def no_fragments(shape: tuple[int, ...]) -> Fragments:
    """Of a block of (h, w) pixels in which no region was asked for."""
    none = np.empty(0, np.int64)
    chains = Chains(joined([]), none, none, none.astype(np.bool_))
    lengths = dict(zip(SIDES, (shape[1], shape[1], shape[0], shape[0]), strict=True))
    sides = {side: np.full(length, -1, np.int64) for side, length in lengths.items()}
    return Fragments(no_facts(), none, joined([]), chains, sides)


def _ring_arrays(name: str, rings: Rings) -> dict[str, Any]:
    return {f"{name}_xy": rings.xy, f"{name}_offsets": rings.offsets, f"{name}_owner": rings.owner}


def _rings_of(name: str, values: Any) -> Rings:
    return Rings(values[f"{name}_xy"], values[f"{name}_offsets"], values[f"{name}_owner"])


@dataclass(frozen=True, slots=True)
class Frame:
    """A block's place in the image: its classes with a rim, its origin, and the width of the image."""

    classes: NDArray[np.int32]
    origin: tuple[int, int]
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the block."""
        height, width = self.classes.shape
        return height - 2, width - 2

    def around(self, x: Ints, y: Ints) -> Around:
        """The classes around vertices of the block."""
        return Around.of(self.classes, y * (self.shape[1] + 1) + x)

    def shifted(self, rings: Rings) -> Rings:
        """Rings of the block in coordinates of the image."""
        return Rings(rings.xy + np.array(self.origin[::-1]), rings.offsets, rings.owner)

    def names(self, x: Ints, y: Ints, direction: Ints) -> Ints:
        """The number that no other edge of the image has."""
        vertex = (y + self.origin[0]) * (self.width + 1) + x + self.origin[1]
        return vertex * 4 + direction


def cut(rings: Rings, frame: Frame) -> tuple[Rings, Chains]:
    """Rings of a block, with those that cross its edge as chains; all in coordinates of the image."""
    heading = along_the_edge(rings, frame.shape)
    crossed = _crossed(rings, heading, frame)
    ring = np.repeat(np.arange(len(rings)), rings.lengths)
    opened = np.zeros(len(rings), np.bool_)
    opened[ring[crossed]] = True
    closed = frame.shifted(rings.take(np.flatnonzero(~opened)))
    return closed, _chains(rings, crossed, heading, frame)


def _crossed(rings: Rings, heading: Ints, frame: Frame) -> NDArray[np.bool_]:
    """Which stretches along the edge are none of the outline, as the region goes on past them."""
    x, y = rings.xy.T
    around = frame.around(x, y)
    same = np.stack([~around.edge(direction) for direction in range(4)], axis=1)
    return (heading >= 0) & np.take_along_axis(same, np.maximum(heading, 0)[:, None], 1)[:, 0]


def _chains(rings: Rings, crossed: NDArray[np.bool_], heading: Ints, frame: Frame) -> Chains:
    before = rings.before
    first = np.flatnonzero(~crossed & crossed[before])
    ends_at = np.flatnonzero(crossed & ~crossed[before])
    ring = np.repeat(np.arange(len(rings)), rings.lengths)
    last = _next_in_ring(first, ends_at, ring)
    size = rings.lengths[ring[first]]
    start = rings.offsets[ring[first]]
    count = (last - first) % size + 1
    index, offsets = ragged(first - start, count)
    chain = np.repeat(np.arange(len(first)), count)
    index = start[chain] + index % size[chain]
    lines = frame.shifted(Rings(rings.xy[index], offsets, rings.owner[ring[first]]))
    begins, loose = _beginnings(rings.xy[first], heading[before[first]], frame)
    return Chains(lines, begins, _endings(rings.xy[last], heading[last], frame), loose)


def _next_in_ring(first: Ints, ends: Ints, ring: Ints) -> Ints:
    """For each vertex where a chain begins, where it ends: the next end in its ring, cyclically.

    Beginnings and ends take turns in a ring, so the next end is that of the same rank, or its neighbour.
    """
    after = np.searchsorted(ends, first)
    wrapped = (after == len(ends)) | (ring[ends[np.minimum(after, len(ends) - 1)]] != ring[first])
    lowest = np.searchsorted(ends, np.searchsorted(ring, ring[first]))
    return ends[np.where(wrapped, lowest, after)]


def _beginnings(xy: Ints, arriving: Ints, frame: Frame) -> tuple[Ints, NDArray[np.bool_]]:
    """Names of the first edges of chains that follow a crossed stretch with heading ``arriving``."""
    (x, y), (height, width) = xy.T, frame.shape
    around = frame.around(x, y)
    ends = np.select(
        [arriving == EAST, arriving == SOUTH, arriving == WEST], [x == width, y == height, x == 0], y == 0
    )
    onward = np.stack(around.right, axis=1)
    own = np.take_along_axis(onward, ((arriving + 1) % 4)[:, None], 1)[:, 0]
    ahead = np.take_along_axis(onward, arriving[:, None], 1)[:, 0]
    straight = ~ends & (own == ahead)
    direction = np.where(straight, arriving, (arriving + 1) % 4)
    return frame.names(x, y, direction), ~around.corners()


def _endings(xy: Ints, leaving: Ints, frame: Frame) -> Ints:
    """Names of the edges that follow chains which end where a crossed stretch leaves, heading ``leaving``.

    Across that stretch lies the same region; the outline goes on with the next edge to the left.
    """
    x, y = xy.T
    edges = np.stack([frame.around(x, y).edge(direction) for direction in range(4)], axis=1)
    left = (leaving - 1) % 4
    direct = np.take_along_axis(edges, left[:, None], 1)[:, 0]
    return frame.names(x, y, np.where(direct, left, (leaving - 2) % 4))

"""Edge: what of a block's rings runs along the block's own edge."""

import numpy as np

from unet_batch.products.export.vector.rings import Ints, Rings, ragged
from unet_batch.products.export.vector.trace import EAST, NORTH, SOUTH, WEST


def along_the_edge(rings: Rings, shape: tuple[int, int]) -> Ints:
    """(N,) heading of the stretch after each vertex where it runs along the block's edge, else -1."""
    (height, width), (x, y), (nx, ny) = shape, rings.xy.T, rings.xy[rings.after].T
    heading = np.full(len(x), -1, np.int64)
    heading[(y == 0) & (ny == 0) & (nx > x)] = EAST
    heading[(x == width) & (nx == width) & (ny > y)] = SOUTH
    heading[(y == height) & (ny == height) & (nx < x)] = WEST
    heading[(x == 0) & (nx == 0) & (ny < y)] = NORTH
    return heading


def restored(rings: Rings, exact: Rings, shape: tuple[int, int]) -> Rings:
    """``rings`` with the vertices of ``exact`` on the block's edge put back.

    Simplification takes those away that lie on a straight stretch, but beyond the edge they are corners.
    """
    lap = 2 * sum(shape)
    old = np.unique(_places(exact.xy, along_the_edge(exact, shape), shape))
    old = old[old >= 0]
    heading = along_the_edge(rings, shape)
    start = _places(rings.xy, heading, shape)
    length = np.abs(rings.xy[rings.after] - rings.xy).sum(axis=1)
    first = np.searchsorted(old, start, side="right")
    stop = np.searchsorted(old, start + length, side="left")
    more = np.where(heading >= 0, np.maximum(stop - first, 0), 0)
    index, offsets = ragged(first, more)
    vertex = np.arange(len(rings.xy))
    keys = np.concatenate((vertex, np.repeat(vertex, more)))
    order = np.argsort(keys, kind="stable")
    xy = np.concatenate((rings.xy, _vertices(old[index] % lap, shape)))[order]
    return Rings(xy, rings.offsets + offsets[rings.offsets], rings.owner)


def _places(xy: Ints, heading: Ints, shape: tuple[int, int]) -> Ints:
    """Distance along the block's edge, clockwise, of vertices that a stretch along it leaves; else -1."""
    (height, width), (x, y) = shape, xy.T
    places = [x, width + y, 2 * width + height - x, 2 * (width + height) - y]
    return np.select([heading == direction for direction in range(4)], places, -1)


def _vertices(place: Ints, shape: tuple[int, int]) -> Ints:
    """(N, 2) the vertices at these distances along the edge."""
    height, width = shape
    x = np.select(
        [place < width, place < width + height, place < 2 * width + height],
        [place, np.full_like(place, width), 2 * width + height - place],
        0,
    )
    y = np.select(
        [place < width, place < width + height, place < 2 * width + height],
        [np.zeros_like(place), place - width, np.full_like(place, height)],
        2 * (width + height) - place,
    )
    return np.column_stack((x, y))

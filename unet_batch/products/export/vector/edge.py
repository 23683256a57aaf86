"""Edge: what of a block's rings runs along the block's own edge."""

import numpy as np

from unet_batch.products.export.vector.rings import Ints, Rings
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

"""Flips: the mirror images of a tile, over which answers may be averaged."""

import itertools


def flips(dims: int) -> list[tuple[int, ...]]:
    """Spatial axes (from the end) of every combination of flips, the one without any first."""
    axes = range(-dims, 0)
    return [combo for count in range(dims + 1) for combo in itertools.combinations(axes, count)]

"""Shapes: rings as shapely's polygons and back. The only place where rings meet GEOS."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.extras import needed
from unet_batch.products.export.vector.rings import Ints, Rings, ragged

Geometries = NDArray[Any]


def outer_first(rings: Rings) -> Rings:
    """The rings by owner, of each the outer ring before its holes."""
    return rings.take(np.lexsort((rings.doubled_areas() < 0, rings.owner)))


def polygons(rings: Rings, xy: NDArray[np.float64] | None = None) -> Geometries:
    """A polygon for each owner 0, 1, ...; rings as ``outer_first`` gives them; ``xy`` in place of theirs."""
    with needed("products", "the export of polygons"):
        import shapely  # noqa: PLC0415 - an extra

    index, offsets = _closed(rings)
    owners = np.searchsorted(rings.owner, np.arange(rings.owner.max(initial=-1) + 2))
    vertices = rings.xy.astype(np.float64) if xy is None else xy
    kind = shapely.GeometryType.POLYGON
    made: Geometries = shapely.from_ragged_array(kind, vertices[index], (offsets, owners))
    return made


def multipolygons(parts: Geometries, feature: Ints) -> Geometries:
    """Polygons of one feature each as one geometry; ``feature`` numbers 0, 1, ... in rising order."""
    with needed("products", "the export of polygons"):
        import shapely  # noqa: PLC0415 - an extra

    made: Geometries = shapely.multipolygons(parts, indices=feature)
    return made


def simplified(rings: Rings, tolerance: float) -> Rings:
    """Rings that cover a block without a gap, with fewer vertices, still without a gap or an overlap.

    What bounds a single region, so the block's own edge, is left alone. The vertices kept are old ones
    (Visvalingam and Whyatt 1993: those whose triangle is largest).
    """
    with needed("products", "the simplification of polygons"):
        import shapely  # noqa: PLC0415 - an extra

    if not len(rings):
        return rings
    cover = polygons(outer_first(rings))
    _, xy, (offsets, owners) = shapely.to_ragged_array(
        shapely.coverage_simplify(cover, tolerance, simplify_boundary=False)
    )
    starts, lengths = offsets[:-1].astype(np.int64), np.diff(offsets).astype(np.int64) - 1
    index, opened = ragged(starts, lengths)
    owner = np.repeat(np.arange(len(owners) - 1), np.diff(owners))
    found = Rings(np.rint(xy[index]).astype(np.int64), opened, owner)
    outer = np.zeros(len(found), np.bool_)
    outer[owners[:-1]] = True
    return _turned(found, outer)


def _turned(rings: Rings, outer: NDArray[np.bool_]) -> Rings:
    """The rings with outer ones of positive area and holes of negative."""
    wrong = (rings.doubled_areas() > 0) != outer
    if not wrong.any():
        return rings
    ring = np.repeat(np.arange(len(rings)), rings.lengths)
    at = np.arange(len(rings.xy))
    mirrored = rings.offsets[ring] + rings.offsets[ring + 1] - 1 - at
    return Rings(rings.xy[np.where(wrong[ring], mirrored, at)], rings.offsets, rings.owner)


def _closed(rings: Rings) -> tuple[Ints, Ints]:
    """Positions of the vertices with the first of each ring again at its end, and the rings' offsets."""
    index, offsets = ragged(rings.offsets[:-1], rings.lengths + 1)
    index[offsets[1:] - 1] = rings.offsets[:-1]
    return index, offsets

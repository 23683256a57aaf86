"""Target: the mosaic's grid, given or following from the scenes, and where each scene lies on it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unet_batch.errors import InputError
from unet_batch.formats.opening import is_zarr
from unet_batch.formats.projection import crs_of, crs_text, project, resolution_in, same_crs
from unet_batch.formats.raster import RasterFacts, facts_of, opened
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.scene import Scene
from unet_batch.store.georef import GeoReference
from unet_batch.store.image import Image

# A scene lies on the grid where its corners are this near to whole pixels: then it is copied.
ON_GRID = 0.01
# Points along each side of a scene whose projection bounds it, and what a cubic kernel reaches beyond.
_POINTS, _KERNEL = 21, 2
_LARGEST = 2**31 - 1

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Target:
    """The mosaic's grid: rows and columns, and where they lie."""

    georef: GeoReference
    shape: tuple[int, int]


def target_of(scenes: Sequence[RasterFacts], config: MosaicConfig) -> Target:
    """The grid that the settings give, completed by what most scenes have.

    Raises:
        InputError: settings that give no grid, or scenes that cannot be projected onto it.
    """
    if config.like is not None:
        return _like(config.like)
    anchor = _resolved(scenes, config)
    if config.bounds is not None:
        left, bottom, right, top = config.bounds
        rows, columns = _pixels(
            anchor, np.array([left, right, left, right]), np.array([top, top] + [bottom] * 2)
        )
        spans = np.array([[rows.min(), columns.min(), rows.max(), columns.max()]])
    else:
        spans = _footprints(scenes, anchor)
    first = [_floor(n) for n in spans[:, :2].min(axis=0)]
    last = [_ceil(n) for n in spans[:, 2:].max(axis=0)]
    shape = (last[0] - first[0], last[1] - first[1])
    if min(shape) < 1 or max(shape) > _LARGEST:
        raise InputError(
            f"the mosaic would have {shape[0]} x {shape[1]} pixels; give `resolution` or `bounds`"
        )
    return Target(anchor.shifted(*first), shape)


def place(scenes: Sequence[RasterFacts], target: Target) -> tuple[Scene, ...]:
    """The scenes that touch the target, each with its span there."""
    placed = [
        _placed(facts, span, target)
        for facts, span in zip(scenes, _footprints(scenes, target.georef), strict=True)
    ]
    found = tuple(scene for scene in placed if scene is not None)
    if not found:
        raise InputError("no scene touches the mosaic's grid; mend `bounds` or `like`")
    return found


def _placed(facts: RasterFacts, span: Floats, target: Target) -> Scene | None:
    row, column = round(float(span[0])), round(float(span[1]))
    whole = (row, column, row + facts.shape[0], column + facts.shape[1])
    copied = _on_grid(facts, whole, target.georef)
    if not copied:
        low, high = [floor(n) - _KERNEL for n in span[:2]], [ceil(n) + _KERNEL for n in span[2:]]
        # GDAL warps onto the target and no further.
        whole = (max(0, low[0]), max(0, low[1]), min(high[0], target.shape[0]), min(high[1], target.shape[1]))
    outside = whole[0] >= min(whole[2], target.shape[0]) or whole[1] >= min(whole[3], target.shape[1])
    if outside or whole[2] <= 0 or whole[3] <= 0:
        return None
    return Scene(facts.path, whole, copied, facts.crs, facts.nodata, facts.masked)


def _on_grid(facts: RasterFacts, span: tuple[int, int, int, int], georef: GeoReference) -> bool:
    """Whether every corner of the scene lies on a corner of the grid's pixels, not turned or mirrored."""
    own = facts.georef
    if own is None or not same_crs(own.crs, georef.crs):
        return False
    height, width = facts.shape
    corners = np.array([[0, 0], [0, width], [height, 0], [height, width]], np.float64)
    rows, columns = _pixels(georef, *_map(own, corners[:, 0], corners[:, 1]))
    expected = corners + np.array(span[:2])
    return bool(np.abs(np.stack([rows, columns], axis=1) - expected).max() < ON_GRID)


def _resolved(scenes: Sequence[RasterFacts], config: MosaicConfig) -> GeoReference:
    """The grid without its extent: CRS, pixel extent, and where pixels begin."""
    crs = crs_text(crs_of(config.crs, "crs")) if config.crs is not None else None
    alike = [s for s in scenes if crs is None or (s.crs is not None and same_crs(s.crs, crs))]
    if config.resolution is not None:
        size = config.resolution
        x, y = size if isinstance(size, tuple) else (size, size)
        return GeoReference(crs or _anchor(scenes).crs, (x, 0.0, 0.0, 0.0, -y, 0.0))
    if alike:
        anchor = _anchor(alike)
        return anchor if crs is None else GeoReference(crs, anchor.transform)
    first = min(scenes, key=lambda scene: scene.path)
    assert crs is not None
    assert first.georef is not None, "the survey refuses scenes without a place"
    size = resolution_in(crs, first.georef, first.shape)
    return GeoReference(crs, (size, 0.0, 0.0, 0.0, -size, 0.0))


def _anchor(scenes: Sequence[RasterFacts]) -> GeoReference:
    """The grid that most scenes lie on; of equals the finest, then by path: never by order."""
    groups = Counter(_grid_key(scene) for scene in scenes)
    best = max(groups, key=lambda key: (groups[key], -abs(key[1] * key[4] - key[2] * key[3]), str(key)))
    first = min((s for s in scenes if _grid_key(s) == best), key=lambda scene: scene.path)
    assert first.georef is not None, "the survey refuses scenes without a place"
    return first.georef


def _grid_key(scene: RasterFacts) -> tuple[str, float, float, float, float, float, float]:
    assert scene.georef is not None, "the survey refuses scenes without a place"
    georef = scene.georef
    rows, columns = _pixels(georef, np.zeros(1), np.zeros(1))
    a, b, _, d, e, _ = (float(f"{n:.9g}") for n in georef.transform)
    phases = [round(float(n[0]) % 1.0, 2) % 1.0 for n in (rows, columns)]
    return georef.crs, a, b, d, e, phases[0], phases[1]


def _like(path: str) -> Target:
    if "://" not in path and is_zarr(Path(path)):
        image = Image.open(path)
        georef, shape = image.georef, image.shape[-2:]
    else:
        with opened(path) as dataset:
            facts = facts_of(path, dataset)
        georef, shape = facts.georef, facts.shape
    if georef is None:
        raise InputError(
            f"{path}: does not say where it lies; give another `like`, or `crs` and `resolution`"
        )
    return Target(georef, (shape[0], shape[1]))


def _footprints(scenes: Sequence[RasterFacts], georef: GeoReference) -> Floats:
    """(N, 4): least and largest row and column of each scene on the grid, as row, column, row, column."""
    spans = np.empty((len(scenes), 4))
    by_crs: dict[str, list[int]] = {}
    for number, scene in enumerate(scenes):
        by_crs.setdefault(str(scene.crs), []).append(number)
    for crs, numbers in by_crs.items():
        outlines = [_outline(scenes[number]) for number in numbers]
        xs, ys = (np.concatenate(part) for part in zip(*outlines, strict=True))
        if not same_crs(crs, georef.crs):
            xs, ys = project(crs, georef.crs, xs, ys)
        rows, columns = (part.reshape(len(numbers), -1) for part in _pixels(georef, xs, ys))
        _require_finite([scenes[number].path for number in numbers], rows + columns, georef.crs)
        spans[numbers] = np.stack([rows.min(1), columns.min(1), rows.max(1), columns.max(1)], axis=1)
    return spans


def _require_finite(paths: Sequence[str], places: Floats, crs: str) -> None:
    bad = np.flatnonzero(~np.isfinite(places).all(axis=1))
    if bad.size:
        raise InputError(
            f"{paths[bad[0]]}: cannot be projected to {crs:.40}; leave it out or give another `crs`"
        )


def _outline(scene: RasterFacts) -> tuple[Floats, Floats]:
    """Map coordinates along the four sides of a scene."""
    assert scene.georef is not None, "the survey refuses scenes without a place"
    height, width = scene.shape
    steps, zeros, ones = np.linspace(0, 1, _POINTS), np.zeros(_POINTS), np.ones(_POINTS)
    rows = np.concatenate([zeros, ones, steps, steps]) * height
    columns = np.concatenate([steps, steps, zeros, ones]) * width
    return _map(scene.georef, rows, columns)


def _map(georef: GeoReference, rows: Floats, columns: Floats) -> tuple[Floats, Floats]:
    a, b, c, d, e, f = georef.transform
    return a * columns + b * rows + c, d * columns + e * rows + f


def _pixels(georef: GeoReference, xs: Floats, ys: Floats) -> tuple[Floats, Floats]:
    """Rows and columns of map coordinates, 0 at the outer edges of the first pixel."""
    a, b, c, d, e, f = georef.transform
    x, y, scale = xs - c, ys - f, a * e - b * d
    return (a * y - d * x) / scale, (e * x - b * y) / scale


def _floor(value: float) -> int:
    near = round(value)
    return near if isfinite(value) and abs(value - near) < ON_GRID else floor(value)


def _ceil(value: float) -> int:
    near = round(value)
    return near if isfinite(value) and abs(value - near) < ON_GRID else ceil(value)

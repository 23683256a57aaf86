"""A made country with known land cover, and the scenes that satellites took of it; all of it from one seed.

Towns, fields and forests share colours: roofs are as bright as bare soil, and every town has trees. So a
pixel's colour is not enough, and a network has to look around. No file here comes from outside.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray
from PIL import Image as Picture
from rasterio.transform import Affine, array_bounds
from rasterio.warp import calculate_default_transform, reproject

Labels = NDArray[np.uint8]
Bands = NDArray[np.uint16]

CLASSES = ("water", "field", "forest", "town")
BANDS = ("blue", "green", "red", "nir")
CRS, NEIGHBOUR = "EPSG:32633", "EPSG:32632"  # the country lies beside the border of two UTM zones
PIXEL, LEFT, TOP = 10.0, 280_000.0, 5_310_000.0
SIDE = 1024  # pixels of the country
PASSES = 3  # of the satellite, each with other clouds
SCENE, STEP = 480, 272  # pixels of a scene, and from one to the next: they overlap
# Reflectance times 10,000 by band.
WATER, CROP, SOIL = (620, 520, 330, 160), (480, 820, 560, 3500), (1000, 1350, 1800, 2500)
TREES, ROOF, ROAD, CLOUD = (310, 520, 330, 2700), (1250, 1450, 1850, 2400), (950, 980, 1000, 1150), 7000


@dataclass(frozen=True, slots=True)
class Country:
    """Class numbers and reflectances of the same pixels."""

    labels: Labels
    bands: Bands


def make_country(seed: int = 5, side: int = SIDE) -> Country:
    """Lakes, rivers, forests, towns, and fields everywhere else."""
    rng = np.random.default_rng(seed)
    height, growth, people = (noise(rng, side, cells) for cells in (5, 9, 11))
    labels = np.full((side, side), CLASSES.index("field"), np.uint8)
    labels[growth > 0.45] = CLASSES.index("forest")
    labels[people > 1.1] = CLASSES.index("town")
    labels[(height < -1.1) | (np.abs(height) < 0.04)] = CLASSES.index("water")
    painted = np.empty((len(BANDS), side, side), np.float64)
    parcels = np.where(_patches(rng, side, 28, 2)[None] == 0, _column(CROP), _column(SOIL))
    houses = _patches(rng, side, 4, 3)[None]
    town = np.choose(houses, [_column(ROOF), _column(ROAD), _column(TREES)])
    for name, look in (
        ("water", _column(WATER)),
        ("field", parcels),
        ("forest", _column(TREES)),
        ("town", town),
    ):
        np.copyto(painted, look, where=labels == CLASSES.index(name))
    crowns = 1 + 0.25 * noise(rng, side, side // 3) * (labels == CLASSES.index("forest"))
    painted *= crowns * (1 + 0.05 * rng.standard_normal(painted.shape))
    return Country(labels, painted.clip(1, 10_000).astype(np.uint16))


def write_truth(country: Country, path: Path) -> None:
    """The classes as a GeoTIFF: the grid that the mosaic takes, and what its mask is judged by."""
    side = len(country.labels)
    with rasterio.open(
        path, "w", **_profile(side, side, 1, "uint8", _place(0, 0)), crs=CRS, nodata=255
    ) as file:
        file.write(country.labels, 1)


def write_scenes(country: Country, folder: Path, seed: int = 6) -> list[Path]:
    """Overlapping scenes in slanted black frames, with clouds and haze. The south-east corner has none.

    Every fourth does not say that 0 means no data, every fifth is in the neighbouring zone, and the file of
    the last is cut short.
    """
    rng = np.random.default_rng(seed)
    paths = []
    for number, (row, column) in enumerate(_corners(len(country.labels))):
        pixels = _seen(country.bands[:, row : row + SCENE, column : column + SCENE], rng)
        paths.append(folder / f"scene_{number:02}.tif")
        tag = None if number % 4 == 3 else 0
        if number % 5 == 4:
            _write_elsewhere(paths[-1], pixels, _place(row, column), tag)
        else:
            _write(paths[-1], pixels, _place(row, column), CRS, tag)
    paths[-1].write_bytes(paths[-1].read_bytes()[: paths[-1].stat().st_size // 2])
    return paths


def noise(rng: np.random.Generator, side: int, cells: int) -> NDArray[np.float64]:
    """(side, side) of smooth noise, mean 0 and deviation 1, about ``cells`` hills across."""
    total = np.zeros((side, side))
    for octave in range(3):
        extent = min(side, cells * 2**octave + 3)
        coarse = Picture.fromarray(rng.standard_normal((extent, extent)).astype(np.float32))
        total += np.asarray(coarse.resize((side, side), Picture.Resampling.BICUBIC)) / 2.0**octave
    return (total - total.mean()) / total.std()


def _corners(side: int) -> Iterator[tuple[int, int]]:
    steps = range(0, side - SCENE + 1, STEP)
    last = steps[-1]
    for _ in range(PASSES):
        yield from ((row, column) for row in steps for column in steps if (row, column) != (last, last))


def _seen(bands: Bands, rng: np.random.Generator) -> Bands:
    """A scene as it arrives: hazy, with clouds, in a frame of zeros, as the satellite flies aslant."""
    side = bands.shape[-1]
    cloud = (noise(rng, side, 4) - 1.2).clip(0, 0.25) * 4
    hazy = bands * rng.uniform(0.95, 1.05)
    looks = hazy * (1 - cloud) + CLOUD * cloud
    rows, columns = np.indices((side, side))
    slant = columns - (side - rows) * 0.12
    inside = (slant > 0) & (slant < side * 0.88)
    return np.where(inside, looks.clip(1, 10_000), 0).astype(np.uint16)


def _patches(rng: np.random.Generator, side: int, extent: int, kinds: int) -> NDArray[np.int64]:
    """(side, side) of rectangles of one kind each, about ``extent`` px wide."""
    cells = -(-side // extent) * 2
    drawn = rng.integers(0, kinds, (cells, cells))
    edges = [np.cumsum(rng.integers(extent // 2, 3 * extent // 2 + 1, cells)) for _ in range(2)]
    rows, columns = (
        np.searchsorted(edge, np.arange(side), side="right").clip(max=cells - 1) for edge in edges
    )
    return np.asarray(drawn[np.ix_(rows, columns)])


def _column(look: tuple[int, ...]) -> NDArray[np.float64]:
    return np.asarray(look, np.float64)[:, None, None]


def _place(row: int, column: int) -> Affine:
    return Affine(PIXEL, 0, LEFT + PIXEL * column, 0, -PIXEL, TOP - PIXEL * row)


def _profile(height: int, width: int, count: int, dtype: str, transform: Affine) -> dict[str, object]:
    return {"driver": "GTiff", "height": height, "width": width, "count": count, "dtype": dtype,
            "transform": transform, "tiled": True, "blockxsize": 256, "blockysize": 256}  # fmt: skip


def _write(path: Path, pixels: Bands, place: Affine, crs: str, tag: int | None) -> None:
    profile = _profile(*pixels.shape[1:], len(BANDS), "uint16", place)
    with rasterio.open(path, "w", **profile, crs=crs, nodata=tag) as file:
        file.write(pixels)
        file.descriptions = BANDS


def _write_elsewhere(path: Path, pixels: Bands, place: Affine, tag: int | None) -> None:
    """In the neighbouring zone, where pixels lie otherwise."""
    height, width = pixels.shape[1:]
    bounds = array_bounds(height, width, place)
    transform, columns, rows = calculate_default_transform(
        CRS, NEIGHBOUR, width, height, *bounds, resolution=PIXEL
    )
    turned = np.zeros((len(BANDS), rows, columns), np.uint16)
    reproject(pixels, turned, src_transform=place, src_crs=CRS, src_nodata=0,
              dst_transform=transform, dst_crs=NEIGHBOUR, dst_nodata=0)  # fmt: skip
    _write(path, turned, transform, NEIGHBOUR, tag)

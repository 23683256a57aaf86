"""What `same_bytes.py` works on: image files of many kinds, drawings, specs; all made from fixed seeds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import tifffile
import torch
import yaml
from numpy.typing import NDArray
from PIL import Image as Pillow
from rasterio.transform import Affine
from rasterio.warp import Resampling, reproject
from scipy import ndimage

SIDE = 900
UTM = "EPSG:32633"
ORIGIN = Affine(10, 0, 500_000, 0, -10, 5_000_000)
RGB: dict[str, Any] = {
    "in_channels": 3,
    "classes": ["background", "nucleus", "border"],
    "width": 4,
    "depth": 2,
    "norm": "batch",
    "normalisation": {"mean": [127.5], "std": [40.0]},
}
GREY = {"in_channels": 1, "classes": ["background", "cell"], "width": 4, "depth": 2, "padding": "same"}
SPECS: dict[str, dict[str, Any]] = {
    "valid": RGB,
    "same": {**GREY, "norm": "instance", "normalisation": {"percentiles": [1, 99]}},
    "volume": {
        **GREY,
        "dims": 3,
        "padding": "valid",
        "norm": "batch",
        "normalisation": {"percentiles": [1, 99]},
    },
    "both": {**RGB, "classes": ["road", "roof"], "head": "multilabel"},
}
EXPORTED = {
    "architecture": "exported",
    "in_channels": 3,
    "classes": ["background", "cell"],
    "margin": 1,
    "multiple": 1,
    "normalisation": {"mean": [127.5], "std": [40.0]},
}


def make(folder: Path) -> None:
    """Everything, into ``folder``; the same bytes each time."""
    (folder / "scenes").mkdir(parents=True)
    tissue = texture((3, SIDE, SIDE + 84), 1, smooth=5)
    write_pictures(folder, tissue)
    write_stacks(folder)
    write_maps(folder)
    write_scenes(folder / "scenes")
    write_drawings(folder)
    write_networks(folder)


def texture(shape: tuple[int, ...], seed: int, smooth: float = 3.0, top: int = 255) -> NDArray[np.float64]:
    """Smooth spots over (C, ...) of ``shape`` from 0 to ``top``, with a little noise."""
    rng = np.random.default_rng(seed)
    sigma = (0, *(smooth,) * (len(shape) - 1))
    field = ndimage.gaussian_filter(rng.standard_normal(shape), sigma, truncate=3)
    field = field / field.std() * 0.22 + 0.5 + rng.normal(0, 0.01, shape)
    found: NDArray[np.float64] = np.clip(field, 0, 1) * top
    return found


def write_pictures(folder: Path, tissue: NDArray[np.float64]) -> None:
    """Tiled and striped TIFF, an SVS-like pyramid, PNG, .npy."""
    rgb = np.ascontiguousarray(np.moveaxis(tissue, 0, -1)).astype(np.uint8)
    size: dict[str, Any] = {"resolution": (20_000, 20_000), "resolutionunit": "CENTIMETER"}  # 0.5 micrometres
    tifffile.imwrite(
        folder / "tiled.tif", rgb, tile=(256, 256), photometric="rgb", compression="deflate", **size
    )
    grey = texture((1, 500, 613), 2, top=4000)[0].astype(np.uint16)
    tifffile.imwrite(folder / "striped.tif", grey, rowsperstrip=16, compression="lzw")
    tifffile.imwrite(folder / "plain.tif", rgb[:300, :411], photometric="rgb", rowsperstrip=7)
    text = "Aperio Image Library v11.2.1\r\n{}x{} (256x256) JPEG/RGB Q=80|AppMag = 20|MPP = 0.4990"
    with tifffile.TiffWriter(folder / "slide.svs") as file:
        for step, tile in ((1, (256, 256)), (8, None), (4, (256, 256))):  # the second is the thumbnail
            level = np.ascontiguousarray(rgb[::step, ::step])
            words = text.format(*level.shape[1::-1])
            file.write(
                level, tile=tile, photometric="rgb", compression="deflate", metadata=None, description=words
            )
    Pillow.fromarray(rgb[:400, :512]).save(folder / "picture.png")
    np.save(folder / "array.npy", tissue[:, :300, :340].astype(np.float32))


def write_stacks(folder: Path) -> None:
    """A volume of one channel and a time series of two, as OME-TIFF."""
    sizes = {"PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 1.5}
    units = {f"{key}Unit": "\N{MICRO SIGN}m" for key in sizes}
    volume = texture((1, 24, 96, 108), 3, top=4000)[0].astype(np.uint16)
    tifffile.imwrite(folder / "volume.ome.tif", volume, metadata={"axes": "ZYX", **sizes, **units})
    series = texture((2, 3, 200, 230), 4, top=60_000).astype(np.uint16)
    names = {"Channel": {"Name": ["DAPI", "GFP"]}}
    tifffile.imwrite(folder / "series.ome.tif", series, metadata={"axes": "CTYX", **names})


def write_maps(folder: Path) -> None:
    """A GeoTIFF with a hole and a frame of no data."""
    pixels = np.maximum(texture((3, 700, 811), 5, smooth=6), 1).astype(np.uint8)
    pixels[:, 100:330, 200:480] = 0
    pixels[:, :, 760:] = 0
    write_scene(folder / "map.tif", pixels, ORIGIN, UTM)


def write_scene(path: Path, pixels: NDArray[Any], place: Affine, crs: str) -> None:
    """(C, y, x) as a tiled GeoTIFF with nodata 0."""
    count, height, width = pixels.shape
    profile = {
        "driver": "GTiff",
        "count": count,
        "height": height,
        "width": width,
        "dtype": str(pixels.dtype),
    }
    layout = {
        "tiled": True,
        "blockxsize": 128,
        "blockysize": 128,
        "compress": "deflate",
        "nodata": 0,
        "photometric": "MINISBLACK",
    }
    with rasterio.open(path, "w", **profile, **layout, crs=crs, transform=place) as file:
        file.write(pixels)


def write_scenes(folder: Path) -> None:
    """Five scenes that overlap: four on one grid, one of another UTM zone."""
    whole = np.maximum(texture((4, 620, 640), 6), 1).astype(np.uint8)
    rng = np.random.default_rng(7)
    for number, (row, column) in enumerate([(0, 0), (0, 260), (250, 30), (240, 290)]):
        piece = whole[:, row : row + 370, column : column + 350].copy()
        piece[:3] = np.clip(piece[:3] + rng.normal(0, 6, piece[:3].shape), 1, 255).astype(np.uint8)
        piece[3] = rng.integers(1, 200)
        piece[:, :20, :45] = 0
        write_scene(folder / f"{number}.tif", piece, ORIGIN * Affine.translation(column, row), UTM)
    there = Affine(10, 0, 30_700, 0, -10, 5_018_000)
    warped = np.zeros((4, 420, 420), np.uint8)
    reproject(
        whole,
        warped,
        src_transform=ORIGIN,
        src_crs=UTM,
        dst_transform=there,
        dst_crs="EPSG:32634",
        resampling=Resampling.bilinear,
        src_nodata=0,
        dst_nodata=0,
    )
    write_scene(folder / "other_zone.tif", warped, there, "EPSG:32634")


def write_drawings(folder: Path) -> None:
    """Annotations as QuPath draws them, and zones of the map."""
    rng = np.random.default_rng(8)
    drawn = [
        feature(star(rng, SIDE * rng.random(2), 90), name) for name in ("nucleus", "border") for _ in range(9)
    ]
    point = {"type": "MultiPoint", "coordinates": (SIDE * rng.random((20, 2))).round(2).tolist()}
    write_features(folder / "drawn.geojson", [*drawn, feature(point, "nucleus")])
    centres = rng.random((6, 2)) * [8000, -7000] + [500_000, 5_000_000]
    zones = [feature(star(rng, centre, 1500), f"zone {i}", "name") for i, centre in enumerate(centres)]
    write_features(folder / "zones.geojson", zones, crs="urn:ogc:def:crs:EPSG::32633")


def star(rng: np.random.Generator, centre: NDArray[np.float64], radius: float) -> dict[str, Any]:
    """A polygon of twelve corners around ``centre``."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    reach = radius * rng.uniform(0.3, 1, (12, 1))
    ring = (centre + reach * np.stack([np.cos(angles), np.sin(angles)], 1)).round(2).tolist()
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def feature(geometry: dict[str, Any], name: str, key: str = "classification") -> dict[str, Any]:
    """GeoJSON's feature; QuPath's class is a mapping."""
    value = {"name": name} if key == "classification" else name
    return {"type": "Feature", "properties": {key: value}, "geometry": geometry}


def write_features(path: Path, features: list[dict[str, Any]], crs: str | None = None) -> None:
    """A collection; ``crs`` as GeoJSON of 2008 names it."""
    named = {"crs": {"type": "name", "properties": {"name": crs}}} if crs else {}
    path.write_text(json.dumps({"type": "FeatureCollection", **named, "features": features}))


def write_networks(folder: Path) -> None:
    """Specs for `model new`, and a TorchScript network with its spec beside it."""
    for name, spec in SPECS.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(spec))
    torch.manual_seed(0)
    torch.jit.script(torch.nn.Conv2d(3, 2, 3)).save(folder / "exported.pt")  # type: ignore[no-untyped-call]
    (folder / "exported.yaml").write_text(yaml.safe_dump(EXPORTED))

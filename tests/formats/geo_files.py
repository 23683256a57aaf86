"""GeoTIFFs that tests are made of, and where the real ones are."""

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

DATA = Path(os.environ.get("UNET_BATCH_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
GEO = DATA / "e_geotiff"
real = pytest.mark.skipif(not GEO.is_dir(), reason=f"no real GeoTIFFs at {GEO}")
UTM = "EPSG:32633"
ORIGIN = Affine(10, 0, 500000, 0, -10, 5000000)


def write_scene(path, pixels, transform=ORIGIN, crs=UTM, mask=None, **profile):
    """``pixels`` (C, y, x) as a tiled GeoTIFF; ``mask`` is kept inside it."""
    count, height, width = pixels.shape
    shape = {"height": height, "width": width, "count": count, "dtype": str(pixels.dtype)}
    tiles = {"tiled": True, "blockxsize": 16, "blockysize": 16}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(
            path, "w", driver="GTiff", crs=crs, transform=transform, **shape, **tiles, **profile
        ) as file,
    ):
        file.write(pixels)
        if mask is not None:
            file.write_mask(mask)
    return path


def noise(shape, seed=0, low=1, high=250, dtype="uint8"):
    """Pixels without zeros."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(dtype)

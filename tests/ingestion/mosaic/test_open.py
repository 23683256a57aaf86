"""A mosaic as other programs see it: rioxarray, ome-zarr-py; and written back as a GeoTIFF."""

import numpy as np
import pytest
import rasterio

from tests.formats.geo_files import UTM, noise, write_scene
from tests.ingestion.mosaic.test_scenes import at
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.run import ingest_mosaic
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.run import export

# rioxarray itself uses what affine is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")


@pytest.fixture(scope="module")
def mosaic(tmp_path_factory):
    """(store, pixels): two scenes side by side, and a gap below one of them."""
    folder, left, right = tmp_path_factory.mktemp("open"), noise((2, 300, 200)), noise((2, 250, 200), 1)
    paths = [
        write_scene(folder / "l.tif", left, at(0, 0), nodata=0),
        write_scene(folder / "r.tif", right, at(0, 200), nodata=0),
    ]
    ingest_mosaic(paths, folder / "m.zarr", MosaicConfig(block=256, chunk=64, workers=0))
    whole = np.zeros((2, 300, 400), np.uint8)
    whole[:, :, :200], whole[:, :250, 200:] = left, right
    return folder / "m.zarr", whole


def test_rioxarray_finds_crs_transform_and_pixels(mosaic):
    xarray, _ = pytest.importorskip("xarray"), pytest.importorskip("rioxarray")
    store, pixels = mosaic
    coarse = ["1", "2", "3", "4"]
    with xarray.open_zarr(
        store, consolidated=False, chunks=None, decode_coords="all", drop_variables=coarse
    ) as opened:
        assert opened["0"].rio.crs == rasterio.crs.CRS.from_user_input(UTM)
        assert opened["0"].rio.transform() == at(0, 0)
        assert opened["0"].dims == ("c", "y", "x")
        np.testing.assert_array_equal(opened["0"].values, pixels)


def test_ome_zarr_py_finds_the_pyramid(mosaic):
    io, reader = pytest.importorskip("ome_zarr.io"), pytest.importorskip("ome_zarr.reader")
    store, pixels = mosaic
    node = next(iter(reader.Reader(io.parse_url(str(store)))()))
    np.testing.assert_array_equal(np.asarray(node.data[0]), pixels)
    assert [level.shape for level in node.data] == [(2, 300, 400), (2, 150, 200), (2, 75, 100), (2, 38, 50)]


def test_a_geotiff_of_it_has_its_pixels_and_place(mosaic, tmp_path):
    store, pixels = mosaic
    export(store, tmp_path / "m.tif", ExportConfig(workers=0))
    with rasterio.open(tmp_path / "m.tif") as file:
        np.testing.assert_array_equal(file.read(), pixels)
        assert (file.crs, file.transform, file.nodata) == (UTM, at(0, 0), 0)

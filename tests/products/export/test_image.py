"""Images as GeoTIFFs: what went in comes out, pixels, place, no data and what bands mean."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import ColorInterp
from rio_cogeo import cog_validate

from tests.formats.geo_files import GEO, noise, real, write_scene
from unet_batch.errors import FormatError, InputError
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.run import ingest
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.run import export

# Some real scenes have no place on the earth.
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(autouse=True)
def no_child(monkeypatch):
    """The probe's child process takes a second each time; test_probe has it."""
    monkeypatch.setattr("unet_batch.ingestion.run.probe", lambda *_: None)


def there_and_back(path, folder, **settings):
    ingest(path, folder / "image.zarr", IngestConfig(block=128, chunk=64, workers=0, **settings))
    export(folder / "image.zarr", folder / "back.tif", ExportConfig(workers=0, tile=64))
    return folder / "back.tif"


def assert_same(one, other):
    with rasterio.open(one) as before, rasterio.open(other) as after:
        np.testing.assert_array_equal(after.read(), before.read())
        assert after.dtypes == before.dtypes
        assert after.crs == before.crs
        assert after.transform == (before.transform if before.crs else rasterio.Affine.identity())
        assert after.nodata == before.nodata or np.isnan([after.nodata, before.nodata]).all()
        assert (after.scales, after.offsets) == (before.scales, before.offsets)
        assert after.descriptions == before.descriptions or not any(before.descriptions)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("count", [1, 4])
def test_pixels_place_and_bands_come_back(tmp_path, dtype, count):
    pixels = noise((count, 150, 230), dtype=dtype)
    nodata = -5 if dtype == "int16" else 0.25 if dtype.startswith("f") else 7
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=nodata)
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("blue & <green>", "b", "c", "d")[:count]
        file.scales, file.offsets = (0.5,) * count, (-3.0,) * count
        file.units = ("W",) * count
    back = there_and_back(path, tmp_path)
    assert_same(path, back)
    assert cog_validate(back, strict=True)[0]
    with rasterio.open(back) as after:
        assert after.units == ("W",) * count
        assert after.overviews(1) == [2, 4]


def test_colours_and_alpha_come_back(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise((4, 90, 70)), photometric="RGB", alpha="YES")
    with rasterio.open(there_and_back(path, tmp_path)) as after:
        named = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, ColorInterp.alpha)
        assert after.colorinterp == named
        assert after.nodata is None


def test_parts_show_as_one(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise((2, 200, 150), dtype="int16"))
    there_and_back(path, tmp_path)
    export(tmp_path / "image.zarr", tmp_path / "parts", ExportConfig(workers=0, tile=64, part=128))
    with rasterio.open(tmp_path / "parts" / "mask.vrt") as shown, rasterio.open(path) as before:
        np.testing.assert_array_equal(shown.read(), before.read())
        assert (shown.crs, shown.transform, shown.nodata) == (before.crs, before.transform, None)


def test_a_plane_of_a_stack(tmp_path):
    np.save(tmp_path / "stack.npy", noise((3, 40, 50)))
    ingest(tmp_path / "stack.npy", tmp_path / "stack.zarr", IngestConfig(axes="zyx", workers=0))
    with pytest.raises(InputError, match="3 planes along z"):
        export(tmp_path / "stack.zarr", tmp_path / "out.tif", ExportConfig(workers=0))
    export(tmp_path / "stack.zarr", tmp_path / "out.tif", ExportConfig(workers=0, plane={"z": 2}))
    with rasterio.open(tmp_path / "out.tif") as after:
        np.testing.assert_array_equal(after.read(1), np.load(tmp_path / "stack.npy")[2])


def test_an_image_has_no_outlines(tmp_path):
    there_and_back(write_scene(tmp_path / "scene.tif", noise((1, 40, 50))), tmp_path)
    with pytest.raises(FormatError, match="no mask store"):
        export(tmp_path / "image.zarr", tmp_path / "out.geojson", ExportConfig(workers=0))


@real
@pytest.mark.parametrize("path", sorted(GEO.glob("*.[tT][iI][fF]")), ids=lambda p: p.name)
def test_real_scenes_come_back(path, tmp_path):
    assert_same(path, there_and_back(path, tmp_path))


def test_a_colour_table_comes_back(tmp_path):
    table = {0: (10, 20, 30, 255), 1: (200, 0, 0, 255), 2: (0, 0, 250, 255)}
    path = tmp_path / "a.tif"
    write_scene(path, noise((1, 40, 40), low=0, high=3), photometric="palette")
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, table)
    back = there_and_back(path, tmp_path)
    export(tmp_path / "image.zarr", f"{tmp_path}/parts/", ExportConfig(workers=0, tile=64, part=64))
    for made in (back, tmp_path / "parts/mask.vrt"):
        with rasterio.open(made) as file:
            assert file.colorinterp == (ColorInterp.palette,)
            assert {value: file.colormap(1)[value] for value in table} == table


def test_colours_and_names_of_bands_in_any_order_come_back(tmp_path):
    path = write_scene(tmp_path / "a.tif", noise((4, 40, 40)))
    colours = (ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined)
    names = ("B02", "B03", "B04", "B08")
    with rasterio.open(path, "r+") as file:
        file.colorinterp = colours
        file.descriptions = names
    back = there_and_back(path, tmp_path)
    export(tmp_path / "image.zarr", f"{tmp_path}/parts/", ExportConfig(workers=0, tile=64, part=64))
    for made in (back, tmp_path / "parts/mask.vrt"):
        with rasterio.open(made) as file:
            assert (file.colorinterp, file.descriptions) == (colours, names)

"""GeoTIFFs: pixels, place, bands and masks as the file has them, or one line that says what to do."""

import importlib.util

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

from tests.formats.geo_files import GEO, ORIGIN, UTM, noise, real, write_scene
from unet_batch.errors import FormatError, InputError
from unet_batch.formats import raster
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.info import info
from unet_batch.ingestion.run import ingest
from unet_batch.store.bands import Band
from unet_batch.store.image import Image
from unet_batch.store.nodata import values_of, with_nan
from unet_batch.tiling.box import Box

SMALL = {"block": 64, "chunk": 32, "workers": 0}


def ingested(path, tmp_path, **settings):
    summary = ingest(path, tmp_path / "out.zarr", IngestConfig(**{**SMALL, **settings}))
    return Image.open(tmp_path / "out.zarr"), summary


@pytest.fixture(autouse=True)
def no_child(monkeypatch):
    """The probe's child process takes a second each time; test_probe has it."""
    monkeypatch.setattr("unet_batch.ingestion.run.probe", lambda *_: None)


def whole(image):
    return image.read(Box.of_shape(image.shape))


def test_place_bands_and_nodata_are_kept(tmp_path):
    pixels = noise((3, 70, 90), dtype="int16")
    path = write_scene(tmp_path / "scene.tif", pixels, nodata=-5)
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("blue", "green", "nir")
        file.scales, file.offsets = (0.1, 0.2, 0.3), (0, -100, 5)
        file.units = ("W", "W", "W")
    image, summary = ingested(path, tmp_path)
    np.testing.assert_array_equal(whole(image), pixels)
    assert image.georef is not None
    assert (image.georef.crs, image.georef.transform) == (UTM, tuple(ORIGIN)[:6])
    assert image.pixel_size == {"y": 10.0, "x": 10.0}
    assert image.unit == "meter"
    assert image.nodata == -5
    assert image.array.fill == -5
    assert image.channel_names == ("blue", "green", "nir")
    assert [b.meaning for b in image.bands] == [(0.1, 0, "W"), (0.2, -100, "W"), (0.3, 5, "W")]
    assert summary.kind == "GeoTIFF"


def test_channels_take_their_bands_along(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise((3, 20, 30)))
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("a", "b", "c")
    image, _ = ingested(path, tmp_path, channels=(2, 0))
    assert [band.name for band in image.bands] == ["c", "a"]


def test_a_rotated_transform_is_kept(tmp_path):
    turned = Affine(8.7, 5, 500000, 5, -8.7, 5000000)
    image, _ = ingested(write_scene(tmp_path / "scene.tif", noise((1, 20, 30)), turned), tmp_path)
    assert image.georef.transform == pytest.approx(tuple(turned)[:6])


@pytest.mark.parametrize("kind", ["inside", "beside", "alpha"])
def test_a_mask_becomes_the_count(tmp_path, kind):
    pixels, mask = noise((4, 40, 50), low=0), np.zeros((40, 50), np.uint8)
    mask[10:30, 5:45] = 255
    if kind == "alpha":
        pixels[3] = mask
        path = write_scene(tmp_path / "scene.tif", pixels, photometric="RGB", alpha="YES")
    elif kind == "inside":
        path = write_scene(tmp_path / "scene.tif", pixels, mask=mask)
    else:
        path = write_scene(tmp_path / "scene.tif", pixels)
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
            file.write_mask(mask)
        assert (tmp_path / "scene.tif.msk").exists()
    image, _ = ingested(path, tmp_path)
    np.testing.assert_array_equal(whole(image), pixels)
    count = Image.open(image.nodata_mask)
    np.testing.assert_array_equal(whole(count)[0], mask // 255)
    assert count.georef == image.georef
    assert len(count.levels) == len(image.levels)


def test_ground_control_points_are_refused_with_the_cure(tmp_path):
    points = [GroundControlPoint(r, c, 10 + c, 50 - r) for r in (0, 19) for c in (0, 29)]
    path = tmp_path / "scene.tif"
    profile = {"driver": "GTiff", "height": 20, "width": 30, "count": 1, "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, gcps=points, crs="EPSG:4326") as file:
        file.write(noise((1, 20, 30)))
    with pytest.raises(FormatError, match=r"4 ground control points .* `gdalwarp`"):
        ingest(path, tmp_path / "out.zarr")
    image, _ = ingested(path, tmp_path, georeference=False)
    assert image.georef is None


def test_a_crs_can_be_named(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise((1, 20, 30)), crs=None)
    image, summary = ingested(path, tmp_path)
    assert image.georef is None
    assert any("no CRS" in note for note in summary.notes)
    image, _ = ingested(path, tmp_path, crs="EPSG:32632", overwrite=True)
    assert image.georef.crs == "EPSG:32632"
    with pytest.raises(InputError, match="no known CRS"):
        ingest(path, tmp_path / "other.zarr", IngestConfig(crs="EPSG:nowhere"))


def test_an_overview_can_be_taken(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise((1, 64, 96)))
    with rasterio.open(path, "r+") as file:
        file.build_overviews([2, 4], rasterio.enums.Resampling.nearest)
    image, _ = ingested(path, tmp_path, level=2)
    assert image.shape == (16, 24)
    assert image.georef.transform[0] == 40
    with pytest.raises(InputError, match="levels 0 to 2"):
        ingest(path, tmp_path / "other.zarr", IngestConfig(level=3))


def test_without_rasterio_a_note_says_what_is_lost(tmp_path, monkeypatch):
    path = write_scene(tmp_path / "scene.tif", noise((1, 20, 30)))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    image, summary = ingested(path, tmp_path)
    assert image.georef is None
    assert "unet-batch[geo]" in summary.notes[-1]
    with pytest.raises(InputError, match=r"needs rasterio; run: pip install .*unet-batch\[geo\]"):
        raster.open_raster(str(path))


def test_complex_and_mixed_pixels_are_refused(tmp_path):
    path = write_scene(tmp_path / "scene.tif", np.ones((1, 20, 30), "complex64"))
    with pytest.raises(FormatError, match="complex64"):
        ingest(path, tmp_path / "out.zarr")


def test_info_tells_the_place(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise((1, 20, 30)))
    assert info(path)["crs"] == UTM
    ingest(path, tmp_path / "out.zarr")
    found = info(tmp_path / "out.zarr")
    assert found["transform"] == list(ORIGIN)[:6]
    assert found["bands"] == [
        {"name": "band 1", "scale": 1, "offset": 0, "unit": None, "colour": "gray", "table": ()}
    ]


def test_a_band_of_nonsense_is_named(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise((1, 20, 30)))
    image, _ = ingested(path, tmp_path)
    assert image.bands == (Band("band 1", colour="gray"),)
    text = (tmp_path / "out.zarr" / "zarr.json").read_text().replace('"scale": 1.0,', '"scale": "no",')
    (tmp_path / "out.zarr" / "zarr.json").write_text(text)
    with pytest.raises(FormatError, match="bands"):
        Image.open(tmp_path / "out.zarr").bands  # noqa: B018 - the look-up is what fails


@real
@pytest.mark.parametrize("path", sorted(GEO.glob("*.[tT][iI][fF]")), ids=lambda p: p.name)
def test_real_files_come_through_bit_for_bit(path, tmp_path):
    image, _ = ingested(path, tmp_path, block=512, chunk=256)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(whole(image), file.read())
        if file.crs:
            assert rasterio.crs.CRS.from_user_input(image.georef.crs) == file.crs
            assert image.georef.transform == tuple(file.transform)[:6]
        else:
            assert image.georef is None
        np.testing.assert_array_equal(values_of(image.nodata), values_of(with_nan(file.nodata, image.dtype)))
        if image.nodata_mask is not None:
            np.testing.assert_array_equal(whole(Image.open(image.nodata_mask))[0], file.dataset_mask() > 0)


def floats_with_holes(folder, **profile):
    pixels = noise((1, 40, 50)).astype("float32")
    pixels[0, 8:12, 8:12], pixels[0, 30, 30] = np.nan, -9999
    return pixels, write_scene(folder / "scene.tif", pixels, **profile)


def test_nan_is_no_data_in_images_of_floats_and_that_is_told(tmp_path):
    pixels, path = floats_with_holes(tmp_path)
    assert np.isnan(info(path)["nodata"])
    image, summary = ingested(path, tmp_path)
    assert np.isnan(summary.nodata)
    assert np.isnan([image.nodata, image.stored_nodata]).all()
    half = image.at_level(1).read(Box((0, 0), (20, 25)))[0]
    np.testing.assert_array_equal(np.isnan(half), np.isnan(pixels[0]).reshape(20, 2, 25, 2).all((1, 3)))


@pytest.mark.parametrize("given", [{}, {"nodata": -9999}, {"nodata": [-9999, "nan"]}])
def test_nan_is_no_data_beside_a_value(tmp_path, given):
    pixels, path = floats_with_holes(tmp_path, **({} if given else {"nodata": -9999}))
    image, summary = ingested(path, tmp_path, **given)
    for found in (info(path, IngestConfig(**given))["nodata"], summary.nodata, image.nodata):
        np.testing.assert_array_equal(found, (-9999, np.nan))
    half = image.at_level(1).read(Box((0, 0), (20, 25)))[0]
    kept = np.nanmean(np.where(pixels == -9999, np.nan, pixels)[0, 30:32, 30:32])
    assert half[15, 15] == pytest.approx(kept)
    assert np.isin(half[4:6, 4:6], [-9999]).all()


def test_several_values_without_data_of_integers(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise((1, 40, 50)))
    image, _ = ingested(path, tmp_path, nodata=[0, 255])
    assert image.nodata == (0, 255)


def test_values_of_other_bands_are_kept_and_told(tmp_path):
    path = write_scene(tmp_path / "scene.tif", noise((2, 40, 50)), nodata=3)
    vrt = tmp_path / "scene.vrt"
    with rasterio.open(path) as file:
        band = '<VRTRasterBand dataType="Byte" band="{0}"><NoDataValue>{1}</NoDataValue><SimpleSource>'
        band += '<SourceFilename relativeToVRT="1">scene.tif</SourceFilename><SourceBand>{0}</SourceBand>'
        bands = "".join(band.format(n, v) + "</SimpleSource></VRTRasterBand>" for n, v in ((1, 3), (2, 9)))
        vrt.write_text(
            f'<VRTDataset rasterXSize="{file.width}" rasterYSize="{file.height}">{bands}</VRTDataset>'
        )
    with raster.opened(str(vrt)) as dataset:
        found = raster.facts_of(str(vrt), dataset)
    assert (found.nodata, found.other_nodata) == (3, (9,))

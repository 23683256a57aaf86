from pkgutil import resolve_name

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from tests.formats.foreign_files import RGB, by_tifffile, pixels, sample
from unet_batch.errors import FormatError, InputError, MissingError
from unet_batch.formats import picture
from unet_batch.formats.catalogue import FORMATS, HEAD
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import foreign, open_reader
from unet_batch.formats.probe import probe
from unet_batch.ingestion.config import IngestConfig
from unet_batch.tiling.box import Box

PLAIN = ReadConfig()


def read_all(path, config=PLAIN):
    with open_reader(path, config) as reader:
        return reader.read(Box.of_shape(reader.shape))


def test_the_first_bytes_decide_not_the_name(tmp_path):
    Pillow.fromarray(RGB).save(tmp_path / "a.tif", format="PNG")
    with open_reader(tmp_path / "a.tif", PLAIN) as reader:
        assert reader.kind == "PNG"


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "no bytes"), (b"words", "none of the formats"), (b"II*\0", "cannot be decoded")],
)
def test_no_image(tmp_path, content, says):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(FormatError, match=says):
        open_reader(tmp_path / "a.tif", PLAIN)


def test_missing(tmp_path):
    with pytest.raises(MissingError, match="no such file"):
        open_reader(tmp_path / "a.tif", PLAIN)


def test_zarr_is_used_directly(tmp_path):
    (tmp_path / "zarr.json").write_text("{}")
    with pytest.raises(InputError, match="use it directly"):
        open_reader(tmp_path, PLAIN)


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(FormatError, match="folder"):
        open_reader(tmp_path, PLAIN)


@pytest.mark.parametrize("error", [MemoryError(), KeyError("a\nb"), RecursionError("deep")])
def test_what_a_decoder_raises_becomes_one_line(tmp_path, error):
    with pytest.raises(FormatError, match="damaged") as caught, foreign(tmp_path / "a.tif"):
        raise error
    assert "\n" not in str(caught.value)


def test_numpy_objects_are_never_unpickled(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[{}]], dtype=object))
    with pytest.raises(FormatError, match="unpickled"):
        open_reader(tmp_path / "a.npy", PLAIN)


def test_numpy_cut_short(tmp_path):
    np.save(tmp_path / "a.npy", pixels((40, 40)))
    content = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "a.npy").write_bytes(content[:-1])
    with pytest.raises(FormatError, match="cut short"):
        open_reader(tmp_path / "a.npy", PLAIN)


@pytest.mark.parametrize(
    ("shape", "axes", "says"), [((4, 5, 6), None, "name them"), ((4, 5), "zyx", "names 3")]
)
def test_numpy_axes_must_fit(tmp_path, shape, axes, says):
    np.save(tmp_path / "a.npy", pixels(shape))
    with pytest.raises(InputError, match=says):
        open_reader(tmp_path / "a.npy", ReadConfig(axes=axes))


@pytest.mark.parametrize("dtype", ["complex64", "datetime64[s]", "U3"])
def test_pixels_are_real_numbers(tmp_path, dtype):
    np.save(tmp_path / "a.npy", np.zeros((3, 3), dtype))
    with pytest.raises(FormatError, match="pixels of type"):
        open_reader(tmp_path / "a.npy", PLAIN)


def test_an_empty_image_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((0, 5), "uint8"))
    with pytest.raises(FormatError, match="empty"):
        open_reader(tmp_path / "a.npy", PLAIN)


def test_png_of_16_bit_colour_keeps_its_bits(tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs")
    deep = pixels((20, 30, 3), "uint16") * 301
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(deep))
    np.testing.assert_array_equal(read_all(tmp_path / "a.png"), deep.transpose(2, 0, 1))


def test_jpeg_decodes_as_pillow_does(tmp_path):
    Pillow.fromarray(RGB).save(tmp_path / "a.jpg")
    with Pillow.open(tmp_path / "a.jpg") as reference:
        expected = np.asarray(reference).transpose(2, 0, 1)
    np.testing.assert_array_equal(read_all(tmp_path / "a.jpg"), expected)


def test_palette_indices_are_kept(tmp_path):
    labels = Pillow.fromarray(pixels((20, 30)) % 5)
    labels.putpalette([v for i in range(5) for v in (9 * i, 8 * i, 7 * i)])
    labels.save(tmp_path / "a.png")
    with open_reader(tmp_path / "a.png", PLAIN) as reader:
        np.testing.assert_array_equal(reader.read(Box.of_shape(reader.shape))[0], pixels((20, 30)) % 5)
        assert "palette" in reader.notes[0]


def test_a_picture_too_large_to_decode_whole_is_refused(tmp_path, monkeypatch):
    Pillow.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(picture, "WHOLE_FILE_LIMIT", RGB.size)
    with pytest.raises(FormatError, match="tiled TIFF"):
        open_reader(tmp_path / "a.png", PLAIN)


def test_a_picture_past_pillows_own_limit_is_read(tmp_path, monkeypatch):
    Pillow.fromarray(RGB).save(tmp_path / "a.png")
    monkeypatch.setattr(Pillow, "MAX_IMAGE_PIXELS", 10)
    np.testing.assert_array_equal(read_all(tmp_path / "a.png"), RGB.transpose(2, 0, 1))
    assert Pillow.MAX_IMAGE_PIXELS == 10


def test_a_truncated_png_is_damaged(tmp_path):
    Pillow.fromarray(RGB).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(FormatError, match="cannot be decoded"):
        open_reader(tmp_path / "a.png", PLAIN)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"series": 9}, "series"),
        ({"level": 9}, "level"),
        ({"channels": (5,)}, "channel 5"),
        ({"axes": "yx"}, "axes"),
    ],
)
def test_settings_must_fit_the_file(tmp_path, settings, says):
    tifffile.imwrite(tmp_path / "a.tif", RGB)
    with pytest.raises(InputError, match=says):
        open_reader(tmp_path / "a.tif", ReadConfig(**settings))


def test_series_and_level_are_chosen():
    path = sample("d_wsi/derived_CMU-1_pyramid.ome.tif")
    with open_reader(path, ReadConfig(level=2)) as reader, tifffile.TiffFile(path) as file:
        level = file.series[0].levels[2]
        np.testing.assert_array_equal(
            reader.read(Box.of_shape(reader.shape)), level.asarray().transpose(2, 0, 1)
        )
        assert reader.pixel_size["y"] == pytest.approx(0.499 * 2967 / level.shape[0])


def test_a_series_is_chosen(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(RGB, photometric="rgb")
        file.write(RGB[:9, :8], photometric="rgb")
    with open_reader(tmp_path / "a.tif", ReadConfig(series=1)) as reader:
        assert reader.shape == (9, 8)
        assert reader.series == ("70 x 53 x 3", "9 x 8 x 3")


@pytest.mark.parametrize(
    "name",
    [
        "d_wsi/CMU-1-Small-Region.svs",
        "d_wsi/BigTIFF.tif",
        "d_wsi/BigTIFFLong.tif",
        "d_wsi/boxes.tiff",
        "d_wsi/OS-1-detail.ome.tif",
        "d_wsi/multi-channel-z-series.ome.tif",
        "e_geotiff/rasterio_RGB.byte.tif",
        "e_geotiff/rasterio_all-nodata.tif",
        "e_geotiff/rasterio_goes.tif",
        "e_geotiff/rasterio_float_nan.tif",
        "e_geotiff/rasterio_rotated.tif",
        "f_3d_stardist_nuclei/img2d.tif",
        "f_3d_stardist_nuclei/img3d.tif",
    ],
)
def test_real_files_read_as_tifffile_reads_them(name):
    found = read_all(sample(name), ReadConfig(georeference=False))  # GDAL has another JPEG decoder
    np.testing.assert_array_equal(found, by_tifffile(sample(name), found.shape[0]))


def test_all_formats_have_an_opener_and_signatures_of_their_own():
    for one in FORMATS:
        assert callable(resolve_name(one.opener))
        assert all(one.offset + len(mark) <= HEAD for mark in one.signatures)
        assert one.signatures or one.by_name or "tiff_kin" in one.opener or "slide" in one.opener
    marks = [mark for one in FORMATS for mark in one.signatures]
    assert not any(a != b and a.startswith(b) for a in marks for b in marks)


def test_settings_of_ingest_are_settings_of_reading(tmp_path):
    """A reader takes the settings of any verb, and the probe's child is told only what reading needs."""
    np.save(tmp_path / "a.npy", RGB)
    with open_reader(tmp_path / "a.npy", IngestConfig(axes="yxc", block=16)) as reader:
        assert reader.axes == "cyx"
    probe(tmp_path / "a.npy", IngestConfig(axes="yxc", block=16))

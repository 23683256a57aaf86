import numpy as np
import openslide
import pytest
import tifffile

from tests.formats.foreign_files import pixels, sample
from tests.formats.reader_suite import ReaderSuite
from unet_batch.errors import FormatError, InputError
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import open_reader
from unet_batch.tiling.box import Box

PLAIN = ReadConfig()
WHOLE = pixels((150, 203, 3))
APERIO = "Aperio Image Library v1\r\n203x150 (64x64) |AppMag = 20|MPP = 0.5"


def write_svs(path, factors=(1, 4.06)):
    """A slide by the documented form of SVS: tiled levels, a thumbnail after the first."""
    with tifffile.TiffWriter(path) as file:
        for number, factor in enumerate(factors):
            rows, columns = (int(n / factor) for n in WHOLE.shape[:2])
            level = WHOLE[:rows, :columns]
            file.write(
                level, tile=(64, 64), photometric="rgb", description=APERIO, metadata=None, compression="jpeg"
            )
            if not number:
                file.write(WHOLE[::4, ::4], photometric="rgb", description=APERIO, metadata=None)
    return path


class TestLevel(ReaderSuite):
    """A level whose pixels do not lie on those of level 0."""

    @pytest.fixture
    def path(self, tmp_path):
        return write_svs(tmp_path / "a.svs")

    @pytest.fixture
    def expected(self, path):
        with openslide.OpenSlide(path) as slide:
            whole = np.asarray(slide.read_region((0, 0), 1, slide.level_dimensions[1]))
        return whole[..., :3].transpose(2, 0, 1)

    @pytest.fixture
    def reader(self, path):
        with open_reader(path, ReadConfig(level=1)) as reader:
            yield reader

    def test_facts(self, reader):
        assert (reader.kind, reader.levels) == ("Aperio SVS", 2)
        assert reader.pixel_size == pytest.approx({"y": 0.5 * 150 / 36, "x": 0.5 * 203 / 50})
        told = reader.attributes["slide"]
        assert told == {"vendor": "aperio", "magnification": 20, "associated": ["thumbnail"]}


def test_label_and_macro_are_never_read(tmp_path):
    with pytest.raises(InputError, match="never read"):
        open_reader(write_svs(tmp_path / "a.svs"), ReadConfig(series=1))


def test_the_name_of_a_slide_decides_nothing(tmp_path):
    with open_reader(write_svs(tmp_path / "a.tif"), PLAIN) as reader:
        assert reader.attributes["slide"]["vendor"] == "aperio"


def test_without_openslide_a_slide_is_read_as_a_tiff_and_that_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr("unet_batch.formats.tiff_kin.has", lambda name: name != "openslide")
    with open_reader(write_svs(tmp_path / "a.svs"), PLAIN) as reader:
        assert reader.pixel_size == {"y": 0.5, "x": 0.5}
        assert "unet-batch[slides]" in reader.notes[-1]


def test_a_mirax_without_its_folder_is_refused(tmp_path):
    (tmp_path / "a.mrxs").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(FormatError, match="folder a is missing"):
        open_reader(tmp_path / "a.mrxs", PLAIN)


@pytest.mark.parametrize("keep", [0, 200, 4000])
def test_a_slide_cut_short_is_refused(tmp_path, keep):
    path = write_svs(tmp_path / "a.svs", (1,))
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError), open_reader(path, PLAIN) as reader:
        reader.read(Box.of_shape(reader.shape))


@pytest.mark.parametrize(
    ("name", "level"),
    [
        ("d_wsi/CMU-1-Small-Region.svs", 0),
        ("r_vendor_formats/hamamatsu_test3-DAPI-2.ndpi", 1),
        ("r_vendor_formats/dicom_wsi_cptac-brca_level.dcm", 0),
        ("r_vendor_formats/dicom_sm_image_25x25.dcm", 0),
    ],
)
def test_real_slides_read_as_openslide_reads_them(name, level):
    with (
        open_reader(sample(name), ReadConfig(level=level)) as reader,
        openslide.OpenSlide(sample(name)) as slide,
    ):
        whole = np.asarray(slide.read_region((0, 0), level, slide.level_dimensions[level]))
        np.testing.assert_array_equal(
            reader.read(Box.of_shape(reader.shape)), whole[..., :3].transpose(2, 0, 1)
        )
        assert reader.pixel_size["x"] == pytest.approx(float(slide.properties["openslide.mpp-x"]) * 2**level)

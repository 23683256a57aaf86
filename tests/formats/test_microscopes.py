from types import SimpleNamespace

import h5py
import mrcfile
import nd2
import numpy as np
import pytest
from pylibCZIrw import czi

from tests.formats.foreign_files import pixels, sample
from tests.formats.reader_suite import ReaderSuite
from unet_batch.errors import FormatError, InputError
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import file_of, open_reader
from unet_batch.tiling.box import Box

PLAIN = ReadConfig()
STACK = pixels((2, 3, 20, 30), "uint16")


def read(reader):
    return reader.read(Box.of_shape(reader.shape))


class FakeNd2:
    """What this package uses of nd2.ND2File; no library writes that format."""

    sizes = {"P": 2, "Z": 3, "C": 2, "Y": 20, "X": 30}  # noqa: RUF012 - never changed
    dtype = np.dtype("uint16")
    metadata = SimpleNamespace(
        channels=[SimpleNamespace(channel=SimpleNamespace(name=n)) for n in ("DAPI", "GFP")]
    )

    def __init__(self, path):
        pass

    def voxel_size(self):
        return SimpleNamespace(x=0.2, y=0.2, z=1.0)

    def read_frame(self, index):
        position, z = divmod(index, 3)
        return STACK[:, z] + np.uint16(1000 * position)

    def close(self):
        pass


def write_czi(folder):
    with czi.create_czi(str(folder / "a.czi")) as file:
        for c, z in np.ndindex(2, 3):
            file.write(STACK[c, z, ..., None], plane={"C": c, "Z": z})
        file.write_metadata(
            "a", channel_names={0: "DAPI", 1: "GFP"}, scale_x=2e-7, scale_y=2e-7, scale_z=1e-6
        )
    return folder / "a.czi"


def write_mrc(folder):
    with mrcfile.new(folder / "a.mrc") as file:
        file.set_data(STACK[0])
        file.voxel_size = 2000.0, 2000.0, 10_000.0
    return folder / "a.mrc"


def write_nd2(folder):
    (folder / "a.nd2").write_bytes(b"\xda\xce\xbe\x0a")
    return folder / "a.nd2"


def write_hdf5(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file["raw/data"] = STACK
        file["raw/data"].attrs["element_size_um"] = (1.0, 0.2, 0.2)
        file["raw/large"] = np.zeros((90, 90), "uint8")
    return f"{folder}/a.h5:/raw/data"


KINDS = {
    "czi": (write_czi, PLAIN, STACK, ("DAPI", "GFP")),
    "mrc": (write_mrc, PLAIN, STACK[:1], ()),
    "nd2": (write_nd2, ReadConfig(series=1), STACK + np.uint16(1000), ("DAPI", "GFP")),
    "hdf5": (write_hdf5, ReadConfig(axes="czyx"), STACK, ()),
}


@pytest.mark.parametrize("kind", KINDS)
class TestMade(ReaderSuite):
    @pytest.fixture
    def expected(self, kind):
        return KINDS[kind][2]

    @pytest.fixture
    def reader(self, kind, tmp_path, monkeypatch):
        monkeypatch.setattr(nd2, "ND2File", FakeNd2)
        with open_reader(KINDS[kind][0](tmp_path), KINDS[kind][1]) as reader:
            yield reader

    def test_facts(self, reader, kind):
        assert reader.axes == ("czyx" if reader.channels > 1 else "zyx")
        assert reader.channel_names == KINDS[kind][3]
        assert reader.pixel_size == pytest.approx({"z": 1, "y": 0.2, "x": 0.2})
        assert reader.unit == "micrometer"


def test_without_a_path_the_largest_dataset_is_read_and_the_others_are_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["small"], file["large"], file["text"] = np.zeros((2, 2)), np.ones((5, 5)), "words"
    with open_reader(tmp_path / "a.h5", PLAIN) as reader:
        assert reader.shape == (5, 5)
        assert "(/small, 2 x 2)" in reader.notes[0]
    with pytest.raises(InputError, match="the file has /large, /small"):
        open_reader(f"{tmp_path}/a.h5:/other", PLAIN)
    assert file_of(f"{tmp_path}/a.h5:/small") == tmp_path / "a.h5"
    assert file_of("https://host/a.h5").name == "a.h5"


def test_lif_series_and_sections():
    path = sample("r_vendor_formats/leica_2channel_xz.lif")
    import liffile

    with liffile.LifFile(path) as file:
        for number, axes in enumerate(("tcyx", "czyx", "cyx")):
            with open_reader(path, ReadConfig(series=number)) as reader:
                assert reader.axes == axes
                expected = file.images[number].asarray()
                order = (1, 0, 2, 3) if expected.ndim == 4 else (0, 1, 2)
                np.testing.assert_array_equal(read(reader), expected.transpose(order))
                assert reader.channel_names == ("Green", "Red")


@pytest.mark.parametrize("name", ["zeiss_RGB-8bit", "zeiss_s1_t1_c1_z1", "zeiss_tiles_z"])
def test_real_czi_read_as_their_library_reads_them(name):
    path = sample(f"r_vendor_formats/{name}.czi")
    with open_reader(path, PLAIN) as reader, czi.open_czi(str(path)) as file:
        found = read(reader)
        planes = [{"C": c, "Z": z} for c in range(len(found)) for z in range(2)] if "tiles" in name else [{}]
        stack = np.stack([file.read(plane=plane) for plane in planes])
    expected = stack[0, ..., ::-1].transpose(2, 0, 1) if "RGB" in name else stack[..., 0].reshape(found.shape)
    np.testing.assert_array_equal(found, expected)
    assert reader.pixel_size["x"] == pytest.approx(0.83027 if "tiles" in name else 1.08333, rel=1e-4)


def test_dm3_image():
    with open_reader(sample("r_vendor_formats/em_multi_signal.dm3"), PLAIN) as reader:
        assert (reader.axes, reader.shape, reader.dtype) == ("yx", (512, 512), np.uint16)
        assert reader.pixel_size["x"] == pytest.approx(1.7752e-5, rel=1e-4)
        assert read(reader).mean() == pytest.approx(3622.018, abs=1e-3)


def test_vsi_is_named_with_its_converter():
    with pytest.raises(FormatError, match=r"Olympus VSI.*bfconvert"):
        open_reader(sample("r_vendor_formats/vsi-ets-test-jpg2k.vsi"), PLAIN)


@pytest.mark.parametrize(
    "head", [b"ZISRAWFILE", b"p\0\0\0*", b"\xda\xce\xbe\x0a", b"\0\0\0\x03", b"\x89HDF\r\n\x1a\n"]
)
def test_what_is_cut_short_is_refused(tmp_path, head):
    (tmp_path / "a.bin").write_bytes(head + b"\0" * 200)
    with pytest.raises(FormatError):
        open_reader(tmp_path / "a.bin", PLAIN)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "no bytes"),
        (b"GIF89a", "GIF.*PNG"),
        (b"\xd0\xcf\x11\xe0", "OIB.*bfconvert"),
        (b"\x1f\x8b\x08\0", "gunzip"),
        (b"PK\x03\x04", "unpack"),
    ],
)
def test_what_is_known_and_not_read_is_named_with_a_cure(tmp_path, content, says):
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(FormatError, match=says):
        open_reader(tmp_path / "a.tif", PLAIN)


@pytest.mark.parametrize(
    ("mark", "says"), [("attributes.json", "N5"), ("info", "precomputed"), ("x", "DICOM")]
)
def test_folders_are_called_by_name(tmp_path, mark, says):
    (tmp_path / mark).write_text("{}")
    with pytest.raises(FormatError, match=says):
        open_reader(tmp_path, PLAIN)

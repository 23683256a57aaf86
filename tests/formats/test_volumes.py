import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - as its own documents have it

from tests.formats.foreign_files import sample
from tests.formats.reader_suite import ReaderSuite
from unet_batch.errors import FormatError, InputError
from unet_batch.formats import volume
from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import open_reader
from unet_batch.formats.several import open_channels
from unet_batch.tiling.box import Box

PLAIN = ReadConfig()
VOXELS = np.random.default_rng(0).integers(-900, 900, (5, 7, 9)).astype("int16")
QUARTER_TURN = (0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0)
TILTED = (0.98006658, -0.19866933, 0.0, 0.19866933, 0.98006658, 0.0, 0.0, 0.0, 1.0)


def image_of(voxels, spacing=(0.5, 0.75, 2.0), direction=None, origin=(10.0, 20.0, 30.0)):
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    if direction is not None:
        image.SetDirection(direction)
    return image


def write(path, voxels=VOXELS, **place):
    sitk.WriteImage(image_of(voxels, **place), str(path))
    return path


def write_series(folder, places, turn=(1, 0, 0, 0, 1, 0), uid="1.2.3", slope=2.0, intercept=-1000.0):
    """One DICOM file for each place, by pydicom."""
    pydicom = pytest.importorskip("pydicom")
    folder.mkdir(exist_ok=True)
    for number, place in enumerate(places):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        meta.MediaStorageSOPInstanceUID = f"{uid}.{number + 1}"
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        one = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        one.SOPClassUID, one.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        one.Modality, one.PatientID, one.SeriesDescription = "CT", "1", f"series {uid}"
        one.StudyInstanceUID, one.SeriesInstanceUID = "1.9", uid
        one.Rows, one.Columns, one.InstanceNumber = 4, 6, number + 1
        one.PixelSpacing, one.SliceThickness = [0.5, 0.25], 2
        one.ImagePositionPatient, one.ImageOrientationPatient = list(place), list(turn)
        one.SamplesPerPixel, one.PhotometricInterpretation, one.PixelRepresentation = 1, "MONOCHROME2", 1
        one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
        one.RescaleSlope, one.RescaleIntercept = slope, intercept
        one.PixelData = np.full((4, 6), number, "int16").tobytes()
        one.save_as(folder / f"{uid}_{len(places) - number}.dcm")
    return folder


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
class TestFiles(ReaderSuite):
    @pytest.fixture
    def expected(self):
        return VOXELS[None]

    @pytest.fixture
    def reader(self, tmp_path, suffix):
        with open_reader(write(tmp_path / f"a{suffix}"), PLAIN) as reader:
            yield reader

    def test_place(self, reader):
        assert reader.axes == "zyx"
        assert reader.unit == "millimeter"
        assert reader.pixel_size == pytest.approx({"z": 2, "y": 0.75, "x": 0.5})
        told = reader.attributes["volume"]
        assert told["orientation"] == "LPS"
        expected = [[-0.5, 0, 0, -10], [0, -0.75, 0, -20], [0, 0, 2, 30], [0, 0, 0, 1]]
        np.testing.assert_allclose(told["affine_ras_mm"], expected, atol=1e-5)


def test_axes_become_canonical_on_request(tmp_path):
    path = write(tmp_path / "a.nii", direction=QUARTER_TURN)
    with open_reader(path, ReadConfig(canonical=True)) as reader:
        assert reader.attributes["volume"]["orientation"] == "RAS"
        assert reader.shape == (5, 9, 7)
        found = reader.read(Box.of_shape(reader.shape))[0]
    np.testing.assert_array_equal(found, VOXELS.transpose(0, 2, 1)[:, ::-1, :])


def test_oblique_volumes_are_said_and_have_no_canonical_order(tmp_path):
    path = write(tmp_path / "a.nii", direction=TILTED)
    with open_reader(path, PLAIN) as reader:
        assert "11.5 degrees" in reader.notes[0]
        np.testing.assert_array_equal(reader.read(Box.of_shape(reader.shape))[0], VOXELS)
    with pytest.raises(InputError, match="leave `canonical` out"):
        open_reader(path, ReadConfig(canonical=True))


def test_a_volume_is_sampled_on_the_grid_of_another(tmp_path):
    fine = write(tmp_path / "fine.nii", np.repeat(VOXELS, 2, axis=0), spacing=(0.5, 0.75, 1.0))
    coarse = write(tmp_path / "coarse.nii", origin=(10.0, 20.0, 30.5))
    with open_reader(fine, ReadConfig(like=str(coarse))) as reader:
        np.testing.assert_array_equal(reader.read(Box.of_shape(reader.shape))[0], VOXELS)


def test_a_volume_too_large_to_hold_is_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(volume, "WHOLE_FILE_LIMIT", 10)
    box = Box((1, 2, 3), (4, 6, 8))
    for suffix in (".nii", ".mha"):
        with open_reader(write(tmp_path / f"a{suffix}"), PLAIN) as reader:
            np.testing.assert_array_equal(reader.read(box)[0], VOXELS[box.slices])
    with pytest.raises(FormatError, match="gunzip"):
        open_reader(write(tmp_path / "a.nii.gz"), PLAIN)


def test_a_series_is_one_volume_in_hounsfield_units(tmp_path):
    folder = write_series(tmp_path / "ct", [(0, 0, 2 * n) for n in range(5)])
    with open_reader(folder, PLAIN) as reader:
        assert (reader.kind, reader.axes, reader.shape) == ("DICOM", "zyx", (5, 4, 6))
        assert reader.pixel_size == pytest.approx({"z": 2, "y": 0.5, "x": 0.25})
        planes = reader.read(Box.of_shape(reader.shape))[0, :, 0, 0]
    np.testing.assert_array_equal(planes, 2 * np.arange(5) - 1000)


@pytest.mark.parametrize(
    ("places", "turn", "says"),
    [
        ([(0, 0, 0), (0, 0, 2), (0, 0, 6)], (1, 0, 0, 0, 1, 0), "unevenly spaced"),
        ([(0, 0, 0), (0, 1, 2), (0, 2, 4)], (1, 0, 0, 0, 1, 0), "tilted gantry"),
    ],
)
def test_slices_that_make_no_volume_are_refused(tmp_path, places, turn, says):
    with pytest.raises(FormatError, match=says):
        open_reader(write_series(tmp_path / "ct", places, turn), PLAIN)


def test_of_several_series_one_must_be_chosen(tmp_path):
    folder = write_series(tmp_path / "ct", [(0, 0, 2 * n) for n in range(3)])
    write_series(folder, [(0, 0, 2 * n) for n in range(4)], uid="1.2.4")
    with pytest.raises(InputError, match=r"holds 2 series.*series 1\.2\.4, 4 files.*--series"):
        open_reader(folder, PLAIN)
    with open_reader(folder, ReadConfig(series=1)) as reader:
        assert reader.shape == (4, 4, 6)


def test_files_on_one_grid_become_channels(tmp_path):
    paths = [write(tmp_path / "t1.nii"), write(tmp_path / "t2.nii", VOXELS.astype("float32") / 3)]
    with open_channels(paths, PLAIN) as reader:
        assert reader.channel_names == ("t1", "t2")
        assert reader.dtype == np.float32
        np.testing.assert_array_equal(
            reader.read(Box((0, 1, 2), (5, 7, 8))),
            np.stack([VOXELS, VOXELS.astype("float32") / 3])[:, :, 1:, 2:8],
        )
    with open_channels(paths, ReadConfig(channels=(1,))) as reader:
        assert reader.channel_names == ("t2",)


@pytest.mark.parametrize("other", [{"origin": (10.0, 20.0, 31.0)}, {"spacing": (0.5, 0.75, 2.1)}])
def test_files_on_other_grids_are_refused(tmp_path, other):
    paths = [write(tmp_path / "t1.nii"), write(tmp_path / "t2.nii", **other)]
    with pytest.raises(InputError, match="--like"):
        open_channels(paths, PLAIN)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_volume_cut_short_is_refused(tmp_path, suffix):
    path = write(tmp_path / f"a{suffix}")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(FormatError, match="copy it again") as told, open_reader(path, PLAIN) as reader:
        reader.read(Box.of_shape(reader.shape))
    assert ".cxx" not in str(told.value)


@pytest.mark.parametrize("name", ["l_liver_ct/ct.nii.gz", "k_brain_ptbp_slab/t1_only/subj01_T1.nii.gz"])
def test_real_volumes_read_as_their_library_reads_them(name):
    path = sample(name)
    with open_reader(path, PLAIN) as reader:
        np.testing.assert_array_equal(
            reader.read(Box.of_shape(reader.shape))[0], sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
        )

import numpy as np
import pytest

from tests.formats.foreign_files import DATA, by_tifffile, sample
from unet_batch.errors import FormatError
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.run import ingest
from unet_batch.store.image import Image
from unet_batch.tiling.box import Box

# Odd but legal, or harmless: decoded by tifffile and, but for the first, by Pillow or GDAL too.
PNG = "pillow_imagedraw_rectangle_zero_width.png.tif"
READABLE = {
    "imgrs_id000025_sig06_src000007_ophavoc_rep16.tif": (1, 151, 157),
    "pillow_child_ifd_jpeg.tiff": (3, 1, 1),
    "pillow_crash-0da013a13571cc8eb457a39fee8db18f8a3c7127.tif": (1, 84, 218),
    "pillow_crash-74d2a78403a5a59db1fb0a2b8735ac068a75f6e3.tif": (1, 590, 88),
    "pillow_hopper_unknown_pixel_mode.tif": (3, 128, 128),
    PNG: (3, 100, 100),
    "pillow_multipage_multiple_frame_loop.tiff": (1, 2, 10, 10),
    "pillow_multipage_out_of_order.tiff": (1, 2, 10, 10),
    "pillow_multipage_single_frame_loop.tiff": (1, 10, 10),
    "pillow_tiff_wrong_bits_per_sample.tiff": (4, 53, 52),
    "pillow_tiff_wrong_bits_per_sample_2.tiff": (3, 16, 16),
}
NAMES = sorted(p.name for p in (DATA / "i_malformed_tiff").glob("*") if p.suffix != ".json") or [""]


@pytest.mark.parametrize("name", NAMES)
def test_a_malformed_file_is_read_or_refused_in_one_line(name, tmp_path):
    path = sample(f"i_malformed_tiff/{name}")
    if name in READABLE:
        ingest(path, tmp_path / "out.zarr", IngestConfig(workers=0, series=0))
        image = Image.open(tmp_path / "out.zarr")
        found = image.read(Box.of_shape(image.shape))
        assert found.shape == READABLE[name]
        if name != PNG:
            np.testing.assert_array_equal(found, by_tifffile(path, len(found)))
        return
    with pytest.raises(FormatError) as caught:
        ingest(path, tmp_path / "out.zarr")
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []

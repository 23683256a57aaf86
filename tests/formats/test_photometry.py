"""Colours that are stored in another way than networks take them are said, with how they are read."""

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image as Pillow

from unet_batch.formats.config import ReadConfig
from unet_batch.formats.opening import open_reader

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
TABLE = ((10, 20, 30, 255), (200, 0, 0, 255))


def notes_of(path):
    with open_reader(path, ReadConfig()) as reader:
        return " ".join(reader.notes)


@pytest.mark.parametrize(
    ("photometric", "channels", "note"),
    [
        ("miniswhite", 1, "MinIsWhite"),
        ("cmyk", 4, "CMYK and kept"),
        ("cielab", 3, "CIELAB and kept"),
        ("minisblack", 1, ""),
    ],
)
def test_colours_of_a_tiff(tmp_path, photometric, channels, note):
    with rasterio.open(
        *(tmp_path / "a.tif", "w", "GTiff", 9, 9, channels), dtype="uint8", photometric=photometric
    ) as file:
        file.write(np.ones((channels, 9, 9), "uint8"))
    found = notes_of(tmp_path / "a.tif")
    assert note in found if note else not found


def test_a_picture_that_is_to_be_turned(tmp_path):
    tags = Pillow.Exif()
    tags[274] = 6
    for name in ("a.jpg", "a.tif"):
        Pillow.fromarray(np.ones((8, 9), "uint8")).save(tmp_path / name, exif=tags)
        assert "orientation tag says 6" in notes_of(tmp_path / name)


def test_a_palette_is_kept_beside_its_numbers(tmp_path):
    numbers = np.arange(72, dtype="uint8").reshape(8, 9) % 2
    picture = Pillow.fromarray(numbers, "P")
    picture.putpalette([part for colour in TABLE for part in colour[:3]])
    for name in ("a.png", "a.tif"):
        picture.save(tmp_path / name)
        with open_reader(tmp_path / name, ReadConfig()) as reader:
            assert "palette indices are kept as pixel values" in reader.notes
            assert reader.bands[0].table[:2] == TABLE


def test_a_composite_of_imagej_has_no_palette(tmp_path):
    ramp = np.zeros((3, 256), "uint16")
    tifffile.imwrite(
        *(tmp_path / "a.tif", np.ones((9, 9), "uint8")),
        photometric="palette",
        colormap=ramp,
        description="ImageJ=1.53\nimages=1\nmode=composite\n",
        metadata=None,
    )
    with open_reader(tmp_path / "a.tif", ReadConfig()) as reader:
        assert reader.kind == "ImageJ TIFF"
        assert "intensities" in " ".join(reader.notes)
        assert not reader.bands

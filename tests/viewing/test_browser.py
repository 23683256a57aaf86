"""The page in a real browser: image and masks lie on the same pixels, with their colours."""

import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image as Picture

from tests.viewing.worlds import write_labels, write_picture
from unet_batch.cli.main import cli
from unet_batch.viewing.config import ViewConfig
from unet_batch.viewing.run import view
from unet_batch.viewing.screenshot import screenshot

pytest.importorskip("neuroglancer")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
BAR = 60  # rows of the page above the picture


def hull(which):
    """First and last row and column where something is."""
    rows, columns = np.flatnonzero(which.any(1)), np.flatnonzero(which.any(0))
    return rows[0], rows[-1] + 1, columns[0], columns[-1] + 1


def below_bar(path):
    with Picture.open(path) as picture:
        return np.asarray(picture.convert("RGB"))[BAR:].astype(int)


@pytest.mark.parametrize(("zoom", "size"), [(8, (640, 480)), (3, (1000, 600)), (1, (400, 700))])
def test_masks_lie_on_the_pixels_of_their_image(tmp_path, zoom, size):
    image, pixels = write_picture(tmp_path)
    settings = ViewConfig(position=(29.5, 64.5), zoom=zoom, opacity=1.0)
    with view(image, settings) as server:
        screenshot(server.url, tmp_path / "image.png", size)
    write_labels(image, pixels)
    with view(image, settings) as server:
        screenshot(server.url, tmp_path / "both.png", size)
        assert server.requests < 200
    alone, both = below_bar(tmp_path / "image.png"), below_bar(tmp_path / "both.png")
    centre = np.s_[alone.shape[0] // 2 - 10 * zoom - 20 : alone.shape[0] // 2 + 10 * zoom, 60:-60]
    white = alone[centre].min(-1) > 200
    top, bottom, left, right = hull(white)
    assert abs((bottom - top) - 20 * zoom) <= 1
    assert abs((right - left) - 30 * zoom) <= 1
    coloured = (both[centre].max(-1) - both[centre].min(-1)) > 60
    assert np.abs(np.subtract(hull(coloured), hull(white))).max() <= 1
    assert (coloured == white).mean() > 0.999


def test_a_picture_by_command(tmp_path):
    image, _ = write_picture(tmp_path)
    out = tmp_path / "page.png"
    told = CliRunner().invoke(cli, ["view", str(image), "--screenshot", str(out), "--size", "320x240"])
    assert told.exit_code == 0, told.output
    with Picture.open(out) as picture:
        assert picture.size == (320, 240)

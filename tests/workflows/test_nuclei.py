# The demo from the file to the overlay, and the shipped network on images that it was not trained on.

import importlib
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image as Picture

from unet_batch import status
from unet_batch.models.checkpoint import read_card, read_spec
from unet_batch.store.image import Image
from unet_batch.tiling import Box

WORKFLOWS = Path(__file__).parents[2] / "workflows"
DATA = Path(os.environ.get("UNET_BATCH_TEST_DATA", "../shared/data")) / "b_dsb2018"


@pytest.fixture
def workflow(monkeypatch):
    monkeypatch.syspath_prepend(str(WORKFLOWS))
    return importlib.import_module


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """The demo's folder after a run on the real image, without Dask."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(WORKFLOWS))
        nuclei = importlib.import_module("nuclei")
    out = tmp_path_factory.mktemp("demo") / "nuclei"
    nuclei.segment(nuclei.sample_image(), out, workers=0)
    return out


def test_the_mask_store_is_whole(story):
    found = status(story / "image.zarr/labels/nuclei")
    assert found.state == "done"
    assert found.exact
    assert found.pixels == 512 * 512


def test_nuclei_take_a_plausible_share_of_the_tissue(story):
    shares = status(story / "image.zarr/labels/nuclei").class_pixels
    assert 0.05 < (shares["nucleus"] + shares["border"]) / 512**2 < 0.3
    assert 0 < shares["border"] < shares["nucleus"]


def test_nuclei_are_bluer_than_what_is_around_them(story):
    everywhere = Box.of_shape((512, 512))
    red, _, blue = Image.open(story / "image.zarr").read(everywhere).astype(float)
    nucleus = Image.open(story / "image.zarr/labels/nuclei").read(everywhere)[0] == 1
    blueness = blue - red
    assert blueness[nucleus].mean() > blueness[~nucleus].mean() + 20


def test_the_overlay_outlines_every_nucleus(story):
    """Twice as large; nothing but the rims of instances differs from the enlarged image."""
    with Picture.open(story / "overlay.png") as overlay:
        drawn = np.asarray(overlay)
    pixels = np.moveaxis(Image.open(story / "image.zarr").read(Box.of_shape((512, 512))), 0, -1)
    enlarged = np.asarray(Picture.fromarray(pixels).resize((1024, 1024), Picture.Resampling.BICUBIC))
    changed = (drawn != enlarged).any(-1)
    numbers = Image.open(story / "image.zarr/labels/instances").read(Box.of_shape((512, 512)))[0]
    large = np.kron(numbers, np.ones((2, 2), np.uint32))
    assert not changed[large == 0].any()
    assert set(np.unique(large[changed])) == set(np.unique(numbers)) - {0}


def test_it_ends_with_how_many_nuclei_there_are_and_where(story, workflow, capsys):
    nuclei = workflow("nuclei")
    nuclei.segment(nuclei.sample_image(), story, workers=0, steps=["report"])
    said = capsys.readouterr().out
    table = pq.read_table(story / "nuclei.parquet")
    assert f"{table.num_rows} nuclei, median area {np.median(table['area']):,.4g} pixel²" in said
    for path in ("overlay.png", "nuclei.parquet", "image.zarr/labels/instances"):
        assert f"{story}/{path}" in said
        assert (story / path).exists()


def test_a_second_run_computes_nothing(story, workflow, capsys):
    nuclei = workflow("nuclei")
    nuclei.segment(nuclei.sample_image(), story, workers=0)
    assert "nothing to do" in capsys.readouterr().out


def test_a_grey_image_is_segmented_too(tmp_path, workflow):
    nuclei = workflow("nuclei")
    grey = np.full((60, 70), 200, np.uint8)
    Picture.fromarray(grey).save(tmp_path / "grey.png")
    found = nuclei.segment(tmp_path / "grey.png", tmp_path / "out", workers=0)
    assert found.pixels == 60 * 70


def test_the_checkpoint_is_small_and_says_what_it_is():
    checkpoint = WORKFLOWS / "nuclei.safetensors"
    card = read_card(checkpoint)
    assert checkpoint.stat().st_size < 10_000_000
    assert read_spec(checkpoint).classes == ("background", "nucleus", "border")
    assert card["licence"] == "CC0"
    assert card["val"]["plain"]["stained tissue"]["foreground_iou"] > 0.75


@pytest.mark.skipif(not DATA.exists(), reason=f"no {DATA}; set UNET_BATCH_TEST_DATA")
@pytest.mark.parametrize(
    ("name", "least"),
    [("7f34dfccd1bc2e24", 0.7), ("4590d7d47f521df6", 0.75), ("c169a7782a69ea2f", 0.85)],
)
def test_the_network_finds_nuclei_that_it_was_not_trained_on(tmp_path, workflow, name, least):
    nuclei = workflow("nuclei")
    nuclei.segment(DATA / "val" / "images" / f"{name}.png", tmp_path / "out", workers=0)
    found = Image.open(tmp_path / "out" / "image.zarr/labels/nuclei")
    with Picture.open(DATA / "val" / "instances" / f"{name}.png") as picture:
        truth = np.asarray(picture) > 0
    mask = found.read(Box.of_shape(found.shape))[0] > 0
    assert (mask & truth).sum() / (mask | truth).sum() > least

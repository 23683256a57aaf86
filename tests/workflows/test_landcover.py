# A country from its scenes to COG and polygons, and the same as SLURM jobs.

import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import rasterio

from unet_batch import status
from unet_batch.errors import InputError
from unet_batch.store.image import Image
from unet_batch.tiling import Box

# rasterio itself uses what affine is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore:Use `@` matmul:PendingDeprecationWarning")

WORKFLOWS = Path(__file__).parents[2] / "workflows"
# A quarter of the steps, of patches a quarter as large: enough to tell the classes, not to tell them well.
QUICK = (
    "run.steps=30",
    "run.checkpoint_every=30",
    "validation.every=30",
    "sampling.patch=64",
    "schedule.warmup=3",
)


@pytest.fixture(scope="module")
def landcover():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(WORKFLOWS))
        yield importlib.import_module("landcover")


@pytest.fixture(scope="module")
def country(landcover, tmp_path_factory):
    """The made country after the whole story, without Dask."""
    made = landcover.Country(tmp_path_factory.mktemp("country") / "out", workers=0, training=QUICK)
    assert landcover.tell(made)
    return made


def whole(path):
    image = Image.open(path)
    return image.read(Box.of_shape(image.shape))


def test_the_mosaic_lies_on_the_grid_of_the_truth(country):
    mosaic, truth = Image.open(country.mosaic), Image.open(country.out / "truth.zarr")
    assert (mosaic.georef, mosaic.shape) == (truth.georef, truth.shape)
    assert mosaic.channel_names == ("blue", "green", "red", "nir")
    count = whole(mosaic.nodata_mask)[0]
    assert count.max() >= 6
    np.testing.assert_array_equal((whole(country.mosaic) == 0).all(axis=0), count == 0)


def test_what_no_scene_saw_is_no_class(country):
    assert status(country.masks).state == "done"
    labels, count = whole(country.masks)[0], whole(Image.open(country.mosaic).nodata_mask)[0]
    np.testing.assert_array_equal(labels == 255, count == 0)
    assert (count == 0).mean() > 0.1


def test_the_mask_is_better_than_the_commonest_class(landcover, country):
    found = landcover.judge(country)
    shares = np.array([scores.pixels for scores in found.classes.values()])
    assert found.accuracy > shares.max() / shares.sum() + 0.2


def test_the_files_say_what_the_mask_says(country):
    with rasterio.open(country.out / "landcover.tif") as file:
        np.testing.assert_array_equal(file.read(), whole(country.masks))
        assert (file.crs.to_epsg(), file.nodata) == (32633, 255)
    assert '"water"' in (country.out / "landcover.geojson").read_text()
    for name in ("landcover.png", "story.png"):
        assert (country.out / name).stat().st_size > 10_000


def test_a_second_run_computes_nothing(landcover, country, capsys):
    assert landcover.tell(country, ["scenes", "mosaic", "train", "predict"])
    told = capsys.readouterr().out
    assert told.count("nothing to do: every block is in the store") == 2
    assert "step" not in told


def test_own_scenes_need_a_network(landcover, tmp_path):
    with pytest.raises(InputError, match="--model CHECKPOINT"):
        landcover.tell(landcover.Country(tmp_path, scenes=[tmp_path]))


def test_each_step_can_be_a_job(tmp_path):
    cluster = tmp_path / "cluster.yaml"
    cluster.write_text("partition: debug\n")
    words = ["--cluster", str(cluster), "--dry-run", "--out", str(tmp_path / "out")]
    ended = subprocess.run(
        [sys.executable, WORKFLOWS / "landcover.py", *words],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    steps = ("scenes", "mosaic", "train", "predict", "products")
    assert [f"landcover-{step}" in ended.stdout for step in steps] == [True] * 5
    assert ended.stdout.count(str(tmp_path / "out")) >= 5

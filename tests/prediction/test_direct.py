"""Foreign files are predicted as they are, and pixels of another size are made as they are read."""

import json
import re

import numpy as np
import pytest
import tifffile

from tests.cli.program import call
from tests.formats.foreign_files import sample
from tests.worlds import noise, write_network
from unet_batch.errors import InputError, PlanMismatchError
from unet_batch.formats.image import open_image
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.run import ingest
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.prediction.untiled import compare_untiled
from unet_batch.store.image import Image
from unet_batch.store.level import View
from unet_batch.store.resample import resampled
from unet_batch.tiling.box import Box

FAST = {"workers": 0, "block": 64, "tile": 64, "precision": "fp32", "backend": "eager"}


@pytest.fixture(scope="module")
def slide(tmp_path_factory):
    """A file of 300 x 220 px, 0.25 um."""
    folder = tmp_path_factory.mktemp("direct")
    options = {"photometric": "minisblack", "tile": (64, 64), "compression": "zlib"}
    pixels = noise((300, 220))
    tifffile.imwrite(
        folder / "i.ome.tif",
        pixels,
        metadata={"axes": "YX", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25},
        **options,
    )
    ingest(folder / "i.ome.tif", folder / "i.zarr", IngestConfig(block=128, chunk=64))
    return folder


def labels(store):
    masks = Image.open(store)
    return masks.read(Box.of_shape(masks.shape))[0]


def network(tmp_path, pixel_size=None, **options):
    return write_network(tmp_path / "n.safetensors", depth=1, pixel_size=pixel_size, **options)[0]


def test_a_file_gives_the_bytes_of_its_copy(slide, tmp_path):
    net = network(tmp_path)
    predict(slide / "i.ome.tif", tmp_path / "direct.zarr", net, PredictConfig(**FAST))
    predict(slide / "i.zarr", tmp_path / "copied.zarr", net, PredictConfig(**FAST))
    np.testing.assert_array_equal(labels(tmp_path / "direct.zarr"), labels(tmp_path / "copied.zarr"))
    assert len(np.unique(labels(tmp_path / "direct.zarr"))) > 1


def test_levels_are_those_of_the_copy(tmp_path):
    tifffile.imwrite(tmp_path / "i.tif", noise((3, 700, 530)), photometric="rgb", planarconfig="separate")
    ingest(tmp_path / "i.tif", tmp_path / "i.zarr")
    file, copy = open_image(tmp_path / "i.tif"), Image.open(tmp_path / "i.zarr")
    for level in range(2):
        one, other = file.at_level(level), copy.at_level(level)
        assert one.shape == other.shape
        whole = Box.of_shape(one.shape)
        np.testing.assert_array_equal(one.read(whole), other.read(whole))
        part = Box((11, 5), (70, 33))
        np.testing.assert_array_equal(one.read(part), other.read(part))
    np.testing.assert_array_equal(file.percentiles([1, 50, 99]), copy.percentiles([1, 50, 99]))


@pytest.mark.parametrize(("trained_on", "level"), [(0.33, 0), (0.8, 1), (0.2, 0)])
@pytest.mark.parametrize("source", ["i.ome.tif", "i.zarr"])
def test_labels_equal_those_over_the_whole_resampled_image(slide, tmp_path, trained_on, level, source):
    net = network(tmp_path, trained_on)
    predict(slide / source, tmp_path / "o.zarr", net, PredictConfig(**FAST))
    masks = Image.open(tmp_path / "o.zarr")
    assert masks.pixel_size == pytest.approx({"y": trained_on, "x": trained_on})
    image = open_image(slide / source)
    level = min(level, len(image.levels) - 1)  # the file is too small for a second one
    whole = resampled(image.at_level(level), (trained_on / 0.25 / 2**level,) * 2)
    pixels = whole.read(Box.of_shape(whole.shape))
    np.save(tmp_path / "whole.npy", pixels[0])
    ingest(tmp_path / "whole.npy", tmp_path / "whole.zarr", IngestConfig(axes="yx"))
    predict(tmp_path / "whole.zarr", tmp_path / "w.zarr", net, PredictConfig(**FAST, resample="never"))
    np.testing.assert_array_equal(labels(tmp_path / "o.zarr"), labels(tmp_path / "w.zarr"))
    compared = compare_untiled(tmp_path / "o.zarr", 2, image=slide / source, model=net)
    assert compared.untiled_label_diff == 0


def test_a_run_is_resumed_by_the_file_and_refused_by_another(slide, tmp_path):
    net, file = network(tmp_path, 0.33), tmp_path / "i.ome.tif"
    file.write_bytes((slide / "i.ome.tif").read_bytes())
    predict(file, tmp_path / "o.zarr", net, PredictConfig(**FAST))
    assert predict(file, tmp_path / "o.zarr", net, PredictConfig(**FAST)).state == "done"
    file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(PlanMismatchError):
        predict(file, tmp_path / "o.zarr", net, PredictConfig(**FAST))


def test_masks_lie_over_the_image(slide, tmp_path):
    """Corners of polygons, in pixels of the full resolution, and places of every level of the masks."""
    net = network(tmp_path, 0.6)
    predict(slide / "i.ome.tif", tmp_path / "o.zarr", net, PredictConfig(**FAST))
    found = call("export", tmp_path / "o.zarr", tmp_path / "o.geojson", "--image", slide / "i.ome.tif")
    assert found.code == 0, found.out
    features = json.loads((tmp_path / "o.geojson").read_text())["features"]
    numbers = re.findall(r"\[([\d.]+), ?([\d.]+)\]", json.dumps([f["geometry"] for f in features]))
    xy = np.array(numbers, float)
    masks = Image.open(tmp_path / "o.zarr")
    np.testing.assert_allclose(xy.max(axis=0), [masks.shape[1] * 2.4, masks.shape[0] * 2.4])
    assert abs(masks.shape[1] * 2.4 - 220) <= 1.2
    assert masks.pixel_size == pytest.approx({"y": 0.6, "x": 0.6})


def test_a_file_with_several_images(tmp_path):
    with tifffile.TiffWriter(tmp_path / "i.tif") as file:
        file.write(noise((90, 80)))
        file.write(noise((100, 100)))
    image = open_image(tmp_path / "i.tif", View(series=0))
    assert image.shape == (90, 80)
    assert open_image(tmp_path / "i.tif").shape == (100, 100)
    with pytest.raises(InputError, match="series"):
        open_image(tmp_path / "i.tif", View(series=2))


def test_a_real_slide_on_the_command_line(tmp_path):
    net = network(tmp_path, 1.7, in_channels=3)
    words = ["predict", sample("d_wsi/CMU-1-Small-Region.svs"), tmp_path / "o.zarr", "--model", net, "-q"]
    found = call(*words, *(f"--set={key}={value}" for key, value in FAST.items()), "--set=block=512")
    assert found.code == 0, found.out
    assert Image.open(tmp_path / "o.zarr").shape == (871, 652)

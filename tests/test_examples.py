"""The worked examples at the heads of the main modules are true."""

import doctest
from importlib import import_module

import pytest
import tifffile
import yaml

from tests.cli.conftest import template  # noqa: F401 - a fixture
from tests.training.run.worlds import values_of, write_world
from tests.worlds import noise

MODULES = [
    "engine.job",
    "formats.reader",
    "inference.sliding_window",
    "ingestion.run",
    "instances.labels",
    "models.spec",
    "prediction.run",
    "products.evaluate",
    "products.export.run",
    "products.objects.run",
    "products.preview.run",
    "products.report.run",
    "products.stats.run",
    "store.image",
    "store.masks",
    "store.units",
    "tiling.block_grid",
    "tiling.rounding",
    "tiling.tile_grid",
    "training.run",
]


@pytest.fixture
def desk(template, tmp_path, monkeypatch):  # noqa: F811 - the fixture itself
    """Where examples find what they name."""
    monkeypatch.chdir(tmp_path)
    for name in ("image.zarr", "net.safetensors", "done.zarr"):
        (tmp_path / name.replace("done", "masks")).symlink_to(template / name)
    tifffile.imwrite("image.tif", noise((150, 201, 3)), photometric="rgb")
    world = tmp_path / "world"
    world.mkdir()
    values = values_of(write_world(world), tmp_path / "run", run={"steps": 2}, validation={"every": 2})
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(values))


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("desk")
def test_worked_examples_are_true(name):
    result = doctest.testmod(import_module(f"unet_batch.{name}"), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted
    assert not result.failed

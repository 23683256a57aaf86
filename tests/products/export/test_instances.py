"""Polygons of masks with a border class: each object with the border around it, and no borders."""

import json

import pytest

from tests.products.worlds import cells, write_masks
from unet_batch.engine.progress import Hooks
from unet_batch.errors import OutputError
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.run import export
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.products.objects.run import objects

SHAPE = (60, 70)
NAMES = ("background", "cell", "border")
GREEN = (10, 200, 30, 255)


def config(**values):
    return ExportConfig(workers=0, block=33, **values)


@pytest.fixture
def masks(tmp_path):
    keys = {"pixel_size": {"y": 0.5, "x": 0.5}, "unit": "micrometer"}
    colours = ((0, 0, 0, 0), GREEN, (9, 9, 9, 255))
    return write_masks(tmp_path / "m", cells(SHAPE, 3), names=NAMES, colours=colours, **keys)


def features_of(path):
    return json.loads(path.read_text())["features"]


def test_the_border_is_part_of_its_object(tmp_path, masks):
    rules = ObjectsConfig(workers=0)
    objects(masks, tmp_path / "o.parquet", rules, labels=tmp_path / "o")
    export(tmp_path / "o", tmp_path / "o.geojson", config())
    done = export(masks, tmp_path / "p.geojson", config())
    found = features_of(tmp_path / "p.geojson")
    assert done.features == len(found) > 5
    assert [one["geometry"] for one in found] == [
        one["geometry"] for one in features_of(tmp_path / "o.geojson")
    ]
    assert {one["properties"]["classification"]["name"] for one in found} == {"cell"}
    assert {tuple(one["properties"]["classification"]["color"]) for one in found} == {GREEN[:3]}
    assert {one.name for one in tmp_path.iterdir()} == {"m", "o", "o.parquet", "o.geojson", "p.geojson"}


@pytest.mark.parametrize("asked", [{"instances": False}, {"classes": ("cell", 2)}])
def test_regions_of_classes_are_exported_where_asked_for(tmp_path, masks, asked):
    export(masks, tmp_path / "p.geojson", config(**asked))
    classes = {one["properties"]["classification"]["name"] for one in features_of(tmp_path / "p.geojson")}
    assert classes == {"cell", "border"}


def test_classes_choose_among_the_instances(tmp_path, masks):
    assert export(masks, tmp_path / "p.gpkg", config(classes=(1,))).features > 5


def test_a_stopped_export_goes_on(tmp_path, masks):
    calls = iter([False, True])
    stopped = export(masks, tmp_path / "p.geojson", config(), hooks=Hooks(stop=lambda: next(calls, True)))
    assert not stopped.finished
    assert (tmp_path / "p.geojson.instances").is_dir()
    assert export(masks, tmp_path / "p.geojson", config()).finished
    assert not (tmp_path / "p.geojson.instances").exists()
    with pytest.raises(OutputError, match="exists already"):
        export(masks, tmp_path / "p.geojson", config())
    again = export(masks, tmp_path / "p.geojson", config(overwrite=True))
    assert again.finished
    assert not (tmp_path / "p.geojson.instances").exists()

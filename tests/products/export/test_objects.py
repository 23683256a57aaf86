"""Polygons of a store of object numbers: one of each object, with what the table says of it."""

import json
import shutil

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import rasterio
import shapely
from rasterio.features import shapes

from tests.products.worlds import NAMES, blobs, write_image, write_masks
from unet_batch.errors import InputError
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.run import export
from unet_batch.products.export.vector import objects as object_table
from unet_batch.products.objects import table as objects_module
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.products.objects.run import objects
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

SHAPE = (90, 70)
pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def config(**values):
    return ExportConfig(workers=0, block=33, **values)


@pytest.fixture
def found(tmp_path, monkeypatch):
    """Objects of two classes with their table, in row groups of a few rows."""
    monkeypatch.setattr(objects_module, "_GROUP_ROWS", 5)
    image = write_image(tmp_path / "image", np.random.default_rng(0).integers(0, 99, (2, *SHAPE)), "cyx")
    masks = write_masks(tmp_path / "m", blobs(SHAPE, 3), pixel_size={"y": 0.5, "x": 0.5}, unit="micrometer")
    settings = ObjectsConfig(workers=0)
    objects(masks, tmp_path / "o.parquet", settings, image=image, labels=tmp_path / "o")
    for cached in (object_table._starts, object_table._group):
        cached.cache_clear()
    return tmp_path / "o"


def table_of(store):
    return pq.read_table(store.with_suffix(".parquet")).to_pandas().set_index("id")


def test_each_is_that_of_its_pixels(tmp_path, found):
    numbers = Masks.open(found).read(Box.of_shape(SHAPE))[0]
    expected = {int(value): shapely.geometry.shape(shape) for shape, value in shapes(numbers.astype("i4"))}
    export(found, tmp_path / "p.parquet", config())
    polygons, table = geopandas.read_parquet(tmp_path / "p.parquet").set_index("id"), table_of(found)
    assert pq.read_metadata(found.with_suffix(".parquet")).num_row_groups > 1
    assert sorted(polygons.index) == list(table.index) == sorted(set(expected) - {0})
    for number, row in polygons.iterrows():
        assert row["geometry"].equals(expected[number])
        said = table.loc[number]
        assert (row["class"], row["area_um2"]) == (said["class"], pytest.approx(said["area"]))
        for name in ("mean_0", "mean_1"):
            assert row[name] == said[name]
        assert row["perimeter_um"] == said["perimeter"]


def test_qupath_has_names_and_measurements(tmp_path, found):
    export(found, tmp_path / "p.geojson", config(classes=(NAMES[2],)))
    features, table = json.loads((tmp_path / "p.geojson").read_text())["features"], table_of(found)
    assert len(features) == (table["class"] == NAMES[2]).sum() > 0
    for feature in features:
        said = table.loc[int(feature["properties"]["name"])]
        assert feature["properties"]["classification"]["name"] == NAMES[2] == said["class"]
        assert feature["properties"]["measurements"] == {
            "Area µm^2": pytest.approx(said["area"]),
            "Perimeter µm": said["perimeter"],
            "Mean 0": said["mean_0"],
            "Mean 1": said["mean_1"],
        }


def test_a_table_that_was_moved_is_given(tmp_path, found):
    moved = shutil.move(found.with_suffix(".parquet"), tmp_path / "elsewhere.parquet")
    with pytest.raises(InputError, match=r"a table tells the objects' classes.*--set table=.*o\.parquet"):
        export(found, tmp_path / "p.gpkg", config())
    assert export(found, tmp_path / "p.gpkg", config(table=str(moved))).finished
    pq.write_table(pq.read_table(moved), tmp_path / "other.parquet")  # without what it says of itself
    with pytest.raises(InputError, match=r"other.parquet: is not the table of"):
        export(found, tmp_path / "q.gpkg", config(table=str(tmp_path / "other.parquet")))
    with pytest.raises(InputError, match="has no class 'rim'; choose among cell, debris"):
        export(found, tmp_path / "q.gpkg", config(table=str(moved), classes=("rim",)))


def test_one_class_needs_no_table(tmp_path):
    masks = write_masks(tmp_path / "m", blobs(SHAPE, 3))
    objects(masks, tmp_path / "o.parquet", ObjectsConfig(workers=0, classes=("cell",)), labels=tmp_path / "o")
    count = len(pq.read_table(tmp_path / "o.parquet"))
    (tmp_path / "o.parquet").unlink()
    assert export(tmp_path / "o", tmp_path / "p.parquet", config()).features == count
    assert set(geopandas.read_parquet(tmp_path / "p.parquet")["class"]) == {"cell"}


@pytest.mark.parametrize("name", ["p.tif", "parts"])
def test_rasters_hold_the_numbers(tmp_path, found, name):
    export(found, tmp_path / name, config())
    with rasterio.open(tmp_path / name if name == "p.tif" else tmp_path / name / "mask.vrt") as image:
        assert image.dtypes == ("uint32",)
        np.testing.assert_array_equal(image.read(1), Masks.open(found).read(Box.of_shape(SHAPE))[0])


@pytest.mark.parametrize("kind", ["geojson", "parquet", "gpkg"])
def test_no_objects_are_an_empty_file(tmp_path, kind):
    masks = write_masks(tmp_path / "m", np.zeros((40, 40), "u1"))
    objects(masks, tmp_path / "o.parquet", ObjectsConfig(workers=0), labels=tmp_path / "o")
    assert export(tmp_path / "o", tmp_path / f"p.{kind}", config()).features == 0


def test_qupath_needs_the_image_where_the_level_is_not_known(tmp_path, found):
    shutil.rmtree(tmp_path / "m")
    assert export(found, tmp_path / "p.geojson", config()).finished, "objects say their level"
    file = found / "zarr.json"
    file.write_text(file.read_text().replace('"level": 0', '"level": null'))
    with pytest.raises(InputError, match=r"of an unknown level.*if you trust that, give --image .*/image$"):
        export(found, tmp_path / "q.geojson", config())
    export(found, tmp_path / "q.geojson", config(image=str(tmp_path / "image")))
    assert (tmp_path / "q.geojson").read_bytes() == (tmp_path / "p.geojson").read_bytes()

"""GeoJSON, GeoParquet and GeoPackage: the same polygons in each, as other programs read them."""

import json
import resource

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely
from pyproj import Geod

from tests.products.export.stores import NAMES, UTM, blobs, store_masks
from tests.products.export.test_polygons import facts, reference
from unet_batch.errors import InputError, OutputError
from unet_batch.products.export.config import ExportConfig
from unet_batch.products.export.run import export
from unet_batch.store.georef import GeoReference

FORMATS = ["geojson", "parquet", "gpkg"]


def config(**values):
    return ExportConfig(workers=0, block=50, **{"instances": False, **values})


def read(path):
    return geopandas.read_parquet(path) if path.suffix == ".parquet" else geopandas.read_file(path)


def on_map(labels, classes=(-1, 1, 2)):
    """(polygons in UTM, classes) of the whole raster."""
    polygons, values = reference(labels, classes=classes)
    return shapely.affinity.affine_transform(shapely.MultiPolygon(list(polygons)), _matrix()).geoms, values


def _matrix():
    a, b, c, d, e, f = UTM.transform
    return [a, b, d, e, c, f]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_map(tmp_path, kind):
    labels = blobs(130, 170)
    store_masks(tmp_path / "m", labels, georef=UTM)
    summary = export(tmp_path / "m", tmp_path / f"m.{kind}", config())
    found = read(tmp_path / f"m.{kind}").to_crs("EPSG:32633")
    expected, values = on_map(labels)
    assert summary.features == len(found) == len(values)
    np.testing.assert_allclose(sorted(found["area_m2"]), sorted(one.area for one in expected))
    assert sorted(found["class"]) == sorted(NAMES[value] for value in values)
    np.testing.assert_allclose(
        np.sort(shapely.bounds(found.geometry.to_numpy()), axis=0),
        np.sort(shapely.bounds(list(expected)), axis=0),
        atol=0.002,  # 8 decimals of a degree in GeoJSON
    )
    assert found.geometry.is_valid.all()


@pytest.mark.parametrize("kind", FORMATS)
def test_a_slide(tmp_path, kind):
    labels = blobs(130, 170)
    store_masks(tmp_path / "m", labels, pixel_size={"y": 0.5, "x": 0.5}, unit="micrometer")
    export(tmp_path / "m", tmp_path / f"m.{kind}", config(flavour="qupath"))
    found = read(tmp_path / f"m.{kind}")
    expected, values = reference(labels, classes=(-1, 1, 2))
    if kind == "geojson":
        classes = [NAMES.index(one["name"]) for one in found["classification"]]
        areas = [one["Area µm^2"] for one in found["measurements"]]
    else:
        assert found.crs is None
        classes, areas = found["class_number"], found["area_um2"]
    assert facts(found.geometry.to_numpy(), classes) == facts(expected, values)
    np.testing.assert_allclose(areas, shapely.area(found.geometry.to_numpy()) / 4)


def test_geojson_follows_rfc_7946(tmp_path):
    store_masks(tmp_path / "m", blobs(100, 100), georef=UTM)
    export(tmp_path / "m", tmp_path / "m.geojson", config())
    content = json.loads((tmp_path / "m.geojson").read_text())
    assert set(content) == {"type", "features"}
    for feature in content["features"]:
        assert (feature["type"], feature["geometry"]["type"]) == ("Feature", "Polygon")
        outer, *holes = (shapely.LinearRing(ring) for ring in feature["geometry"]["coordinates"])
        assert outer.is_ccw
        assert not any(hole.is_ccw for hole in holes)
        longitude, latitude = outer.coords[0]
        assert 14.9 < longitude < 15.1
        assert 45.1 < latitude < 45.2
        assert longitude == round(longitude, 8)


def test_geojson_follows_qupath(tmp_path):
    colours = ((0, 0, 0, 0), (200, 30, 40, 255), (10, 220, 30, 255))
    confidence = np.full((60, 60), 127, np.uint8)
    store_masks(tmp_path / "m", blobs(60, 60), colours=colours, confidence=confidence)
    export(tmp_path / "m", tmp_path / "m.geojson", config(object_type="annotation", classes=("cell",)))
    content = json.loads((tmp_path / "m.geojson").read_text())
    assert content["features"]
    for feature in content["features"]:
        area = shapely.geometry.shape(feature["geometry"]).area
        assert feature["properties"] == {
            "objectType": "annotation",
            "classification": {"name": "cell", "color": [200, 30, 40]},
            "measurements": {"Area px^2": area, "Confidence": 0.5},
        }


def test_rfc_7946_needs_a_place(tmp_path):
    store_masks(tmp_path / "m", blobs(20, 20))
    with pytest.raises(InputError, match="no place on the earth, which RFC 7946 needs"):
        export(tmp_path / "m", tmp_path / "m.geojson", config(flavour="rfc7946"))


def test_confidence_is_the_mean_over_a_polygon(tmp_path):
    labels, confidence = np.zeros((60, 90), np.uint8), np.full((60, 90), 200, np.uint8)
    labels[10:55, 20:80] = 1  # over all blocks
    confidence[10:55, 20:50] = 100
    confidence[10:20] = 255  # not known
    labels[0, 0], confidence[0, 0] = 2, 255
    store_masks(tmp_path / "m", labels, confidence=confidence)
    export(tmp_path / "m", tmp_path / "m.parquet", config())
    found = read(tmp_path / "m.parquet").set_index("class")["confidence"]
    assert found["cell"] == pytest.approx(150 / 254)
    assert np.isnan(found["border"])


def test_geoparquet_tells_readers_where_to_look(tmp_path):
    store_masks(tmp_path / "m", blobs(200, 200), georef=UTM)
    export(tmp_path / "m", tmp_path / "m.parquet", config())
    geo = json.loads(pq.read_metadata(tmp_path / "m.parquet").metadata[b"geo"])
    column = geo["columns"]["geometry"]
    assert (geo["version"], geo["primary_column"], column["encoding"]) == ("1.1.0", "geometry", "WKB")
    assert column["crs"]["id"] == {"authority": "EPSG", "code": 32633}
    box = (500010.0, 4999950.0, 500020.0, 4999960.0)
    near = geopandas.read_parquet(tmp_path / "m.parquet", bbox=box)
    every = read(tmp_path / "m.parquet")
    assert 0 < len(near) < len(every)
    boxes = shapely.box(*every.bounds.to_numpy().T)
    assert len(near) == np.count_nonzero(shapely.intersects(boxes, shapely.box(*box)))


@pytest.mark.parametrize("kind", FORMATS)
def test_small_ones_are_left_out(tmp_path, kind):
    labels = blobs(130, 170, scale=1.0)
    store_masks(tmp_path / "m", labels, georef=UTM)
    summary = export(tmp_path / "m", tmp_path / f"m.{kind}", config(min_area=20.0))
    areas = [one.area for one in on_map(labels)[0]]
    found = read(tmp_path / f"m.{kind}")
    assert summary.features == len(found) == sum(area >= 20 for area in areas) < len(areas)
    assert found["area_m2"].min() >= 20


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_to_tell_is_an_empty_file(tmp_path, kind):
    store_masks(tmp_path / "m", np.zeros((70, 70), np.uint8))
    assert export(tmp_path / "m", tmp_path / f"m.{kind}", config()).features == 0
    assert len(read(tmp_path / f"m.{kind}")) == 0


def test_a_geopackage_that_gdal_could_not_close_is_an_error(tmp_path, monkeypatch):
    """GDAL makes the spatial index on closing, and tells nobody that the disk was full by then."""
    masks = store_masks(tmp_path / "masks", blobs(150, 150))
    export(masks, tmp_path / "whole.gpkg", config())
    size, write = (tmp_path / "whole.gpkg").stat().st_size, pyogrio.write_arrow

    def on_a_small_disk(*arguments, **keys):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - 8192, hard))
        try:
            write(*arguments, **keys)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    monkeypatch.setattr(pyogrio, "write_arrow", on_a_small_disk)
    with pytest.raises(OutputError, match="was not written whole"):
        export(masks, tmp_path / "a.gpkg", config())
    assert not (tmp_path / "a.gpkg").exists()
    monkeypatch.undo()
    export(masks, tmp_path / "a.gpkg", config())


@pytest.mark.parametrize("kind", FORMATS)
def test_corners_join_features_of_several_parts(tmp_path, kind):
    labels = np.zeros((70, 70), np.uint8)
    labels[10:50, 10:50] = labels[50:60, 50:60] = 1
    store_masks(tmp_path / "m", labels)
    assert export(tmp_path / "m", tmp_path / f"m.{kind}", config(connectivity=8)).features == 1
    (found,) = read(tmp_path / f"m.{kind}").geometry
    assert (found.geom_type, len(found.geoms), found.area) == ("MultiPolygon", 2, 1700)


def test_channels_of_multilabel_masks_are_classes(tmp_path):
    labels = np.stack([blobs(80, 80, seed) > 0 for seed in range(3)]).astype(np.uint8)
    store_masks(tmp_path / "m", labels, kind="multilabel", names=("road", "house", "tree"))
    export(tmp_path / "m", tmp_path / "m.parquet", config(classes=("house", 2)))
    found = read(tmp_path / "m.parquet")
    for number, name in ((1, "house"), (2, "tree")):
        polygons, values = reference(labels[number], classes=(-1, 1))
        mine = found[found["class"] == name]
        assert facts(mine.geometry.to_numpy(), mine["class_number"]) == facts(polygons, values * number)


def test_areas_on_a_grid_of_longitudes_are_square_metres(tmp_path):
    place = GeoReference("EPSG:4326", (0.5, 0.0, 10.0, 0.0, -0.25, 60.0))
    labels = np.zeros((80, 60), np.uint8)
    labels[5:70, 10:55] = 1
    store_masks(tmp_path / "m", labels, georef=place)
    export(tmp_path / "m", tmp_path / "m.parquet", config())
    (area,) = read(tmp_path / "m.parquet")["area_m2"]
    # geodesics are no parallels: many short ones are nearly
    west, east, north, south = 15.0, 37.5, 58.75, 42.5
    steps = np.linspace(west, east, 5000)
    ring = [*((x, south) for x in steps), *((x, north) for x in steps[::-1])]
    expected = Geod(ellps="WGS84").polygon_area_perimeter(*zip(*ring, strict=True))[0]
    assert area == pytest.approx(abs(expected), rel=1e-6)


def test_areas_in_feet_are_square_metres(tmp_path):
    place = GeoReference("EPSG:2263", (2.0, 0.0, 980000.0, 0.0, -2.0, 200000.0))
    store_masks(tmp_path / "m", np.ones((10, 10), np.uint8), georef=place)
    export(tmp_path / "m", tmp_path / "m.parquet", config())
    (area,) = read(tmp_path / "m.parquet")["area_m2"]
    assert area == pytest.approx(400 * (1200 / 3937) ** 2)


def test_masks_without_classes_have_no_polygons(tmp_path):
    store_masks(tmp_path / "m", np.zeros((20, 20), np.float32), kind="regression", names=("depth",))
    with pytest.raises(InputError, match="holds values, not classes"):
        export(tmp_path / "m", tmp_path / "m.gpkg", config())


def test_a_class_that_is_none(tmp_path):
    store_masks(tmp_path / "m", blobs(20, 20))
    with pytest.raises(InputError, match="no class 'nucleus'; choose among background, cell, border"):
        export(tmp_path / "m", tmp_path / "m.gpkg", config(classes=("nucleus",)))

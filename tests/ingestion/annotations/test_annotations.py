"""Annotations are painted where they lie: pixels, planes, maps; and what cannot be painted is told."""

import importlib.util
import json

import numpy as np
import pytest
import shapely
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pyogrio import raw
from rasterio.warp import transform_geom

from tests.ingestion.annotations.drawn import feature, painted, rectangle, write_geojson, write_image
from tests.worlds import shard_hashes
from unet_batch.cli.main import cli
from unet_batch.engine.progress import Hooks
from unet_batch.errors import ConfigError, FormatError, InputError, MissingError, OutputError
from unet_batch.ingestion.annotations import opening
from unet_batch.ingestion.annotations.config import AnnotationsConfig
from unet_batch.ingestion.annotations.run import ingest_annotations
from unet_batch.store.georef import GeoReference
from unet_batch.store.image import Image
from unet_batch.store.masks import Masks
from unet_batch.tiling import Box

TWO = [feature("b", rectangle(10, 5, 40, 20)), feature("a", rectangle(30, 10, 60, 30))]


def write_layer(path, features, crs=None, column="class", layer="drawn"):
    """A vector file of shapes and class names."""
    shapes = shapely.to_wkb(np.array([shape for _, shape in features], object))
    names = np.array([name for name, _ in features], object)
    raw.write(path, shapes, [names], [column], geometry_type="Unknown", crs=crs, layer=layer, driver="GPKG")
    return path


def write_map(folder):
    """An image of 90 x 120 pixels of 10 m."""
    return write_image(folder, georef=GeoReference("EPSG:32633", (10, 0, 500_000, 0, -10, 5_200_000)))


def test_polygons_are_painted_and_the_rest_is_unlabelled(tmp_path):
    labels, summary = painted(tmp_path, write_geojson(tmp_path, TWO))
    expected = np.full((90, 120), 255)
    expected[10:30, 30:60] = 0
    expected[5:20, 10:40] = 1  # the later class lies on top
    assert np.array_equal(labels, expected)
    assert summary.classes == ("a", "b")
    assert summary.annotations == {"a": 1, "b": 1}
    assert summary.pixels == {"a": 500, "b": 450}
    assert summary.unlabelled == (expected == 255).sum()
    assert Masks.open(tmp_path / "labels.zarr").layout.names == ("a", "b")


def test_the_later_annotation_may_lie_on_top(tmp_path):
    labels, _ = painted(tmp_path, write_geojson(tmp_path, TWO), order="file")
    assert (labels[10:30, 30:60] == 0).all()


def test_the_rest_may_be_a_class(tmp_path):
    labels, summary = painted(tmp_path, write_geojson(tmp_path, TWO), rest="background")
    assert summary.classes == ("background", "a", "b")
    assert summary.unlabelled == 0
    assert labels[0, 0] == 0
    assert labels[6, 11] == 2


def test_classes_are_numbered_renamed_and_left_out(tmp_path):
    features = [*TWO, feature("Other", rectangle(70, 70, 80, 80)), feature(None, rectangle(0, 0, 5, 5))]
    config = {"classes": ["z", "b", "y"], "rename": {"a": "y", "Other": None}}
    labels, summary = painted(tmp_path, write_geojson(tmp_path, features), **config)
    assert sorted(np.unique(labels)) == [1, 2, 255]
    assert summary.annotations == {"z": 0, "b": 1, "y": 1}
    assert summary.left_out == 2


@pytest.mark.parametrize(
    ("document", "config"),
    [
        ([feature("a", rectangle(1, 2, 4, 8))], {}),
        (feature("a", rectangle(1, 2, 4, 8)), {}),
        ([{"geometry": rectangle(1, 2, 4, 8), "properties": {"label": "a"}}], {}),
        ([{"geometry": rectangle(1, 2, 4, 8), "properties": {"class": "a"}}], {}),
        ([{"geometry": rectangle(1, 2, 4, 8), "properties": {"x": {"y": "a"}}}], {"property": "x.y"}),
        ([{"geometry": rectangle(1, 2, 4, 8), "properties": {"x.y": "a"}}], {"property": "x.y"}),
        ([{"geometry": rectangle(1, 2, 4, 8), "properties": {"classification": {"names": ["a"]}}}], {}),
        ([feature("a", rectangle(1, 2, 4, 8)), feature("a", None)], {}),
    ],
)
def test_flavours_of_geojson(tmp_path, document, config):
    path = tmp_path / "drawn.json"
    path.write_text(json.dumps(document))
    labels, _ = painted(tmp_path, path, **config)
    expected = np.full((90, 120), 255)
    expected[2:8, 1:4] = 0
    assert np.array_equal(labels, expected)


def test_derived_classes_of_qupath_have_their_full_name(tmp_path):
    one = feature(None, rectangle(1, 2, 4, 8), classification={"names": ["Tumor", "Positive"]})
    assert painted(tmp_path, write_geojson(tmp_path, [one]))[1].classes == ("Tumor: Positive",)


def test_holes_and_parts(tmp_path):
    ring = rectangle(10, 10, 30, 30)["coordinates"]
    holed = {
        "type": "MultiPolygon",
        "coordinates": [
            ring + rectangle(15, 15, 20, 20)["coordinates"],
            rectangle(50, 50, 52, 52)["coordinates"],
        ],
    }
    labels, _ = painted(tmp_path, write_geojson(tmp_path, [feature("a", holed)]))
    assert (labels == 0).sum() == 400 - 25 + 4
    assert labels[17, 17] == 255


def test_points_and_lines_have_a_width(tmp_path):
    drawn = [
        feature("p", {"type": "Point", "coordinates": [20.2, 30.7]}),
        feature("q", {"type": "MultiPoint", "coordinates": [[60, 60], [70, 60]]}),
        feature("s", {"type": "LineString", "coordinates": [[10, 50.5], [40, 50.5]]}),
    ]
    labels, _ = painted(tmp_path, write_geojson(tmp_path, drawn), point_radius=3, line_width=5)
    rows, columns = np.mgrid[:90, :120] + 0.5
    assert np.array_equal(labels == 0, np.hypot(rows - 30.7, columns - 20.2) < 3)
    assert (labels == 1).sum() == pytest.approx(2 * np.pi * 9, rel=0.2)
    assert (labels[48:53, 10:40] == 2).all()
    thin, _ = painted(tmp_path, write_geojson(tmp_path, drawn), point_radius=0, line_width=0)
    assert thin[30, 20] == 0
    assert (thin == 0).sum() == 1
    assert (thin[50, 10:40] == 2).all()


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([32, 48, 64]), st.sampled_from([0, 2]))
def test_blocks_do_not_show(tmp_path_factory, seed, block, workers):
    folder = tmp_path_factory.mktemp("blocks")
    rng = np.random.default_rng(seed)
    drawn = [
        feature(
            str(rng.integers(4)),
            json.loads(shapely.to_geojson(shapely.Point(*rng.uniform(0, 100, 2)).buffer(rng.uniform(2, 30)))),
        )
        for _ in range(8)
    ]
    source, image = write_geojson(folder, drawn), write_image(folder)
    whole, summary = painted(folder, source, image, order="file")
    config = AnnotationsConfig(order="file", block=block, chunk=8, workers=workers)
    parts = ingest_annotations(image, source, folder / "parts.zarr", config)
    found = Masks.open(folder / "parts.zarr")
    assert np.array_equal(found.read(Box.of_shape(whole.shape))[0], whole)
    assert parts.pixels == summary.pixels


def test_planes_of_a_stack(tmp_path):
    image = write_image(tmp_path, (3, 40, 50), "zyx")
    on_1 = {**rectangle(0, 0, 10, 10), "plane": {"c": -1, "z": 1, "t": 0}}
    drawn = write_geojson(tmp_path, [feature("a", on_1), feature("a", rectangle(20, 20, 30, 30))])
    labels, _ = painted(tmp_path, drawn, image)
    assert [(plane == 0).sum() for plane in labels] == [100, 100, 0]
    assert (labels[1, :10, :10] == 0).all()
    labels, _ = painted(tmp_path, drawn, image, planes="all")
    assert [(plane == 0).sum() for plane in labels] == [100, 200, 100]


def test_labels_go_into_the_image(tmp_path):
    image = write_image(tmp_path)
    out = image / "labels" / "truth"
    source = write_geojson(tmp_path, TWO)
    for overwrite in (False, True):
        ingest_annotations(image, source, out, AnnotationsConfig(overwrite=overwrite))
    group = json.loads((image / "labels" / "zarr.json").read_text())
    assert group["attributes"]["ome"]["labels"] == ["truth"]
    label = json.loads((out / "zarr.json").read_text())["attributes"]["ome"]["image-label"]
    assert label["source"] == {"image": "../../"}
    assert [entry["name"] for entry in label["properties"]][:2] == ["a", "b"]
    assert sorted(path.name for path in (image / "labels").iterdir()) == ["truth", "zarr.json"]
    assert len(Image.open(out).levels) == len(Image.open(image).levels)


def test_unlabelled_blocks_take_no_space(tmp_path):
    image = write_image(tmp_path, (256, 256))
    painted(tmp_path, write_geojson(tmp_path, [feature("a", rectangle(0, 0, 9, 9))]), image, block=64)
    assert len([f for f in (tmp_path / "labels.zarr" / "0" / "c").rglob("*") if f.is_file()]) == 1


def square(left, top, size):
    """A square of pixels of the map of ``write_map``, in its coordinates."""
    return shapely.box(
        500_000 + 10 * left, 5_200_000 - 10 * (top + size), 500_000 + 10 * (left + size), 5_200_000 - 10 * top
    )


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_geopackage_in_the_crs_of_the_map(tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr(opening, "_MOST_IN_MEMORY", 1000 if in_memory else 0)
    shapes = [("a", square(5, 10, 20)), ("b", square(100, 80, 10)), (None, square(50, 50, 3))]
    source = write_layer(tmp_path / "drawn.gpkg", shapes, "EPSG:32633")
    labels, summary = painted(tmp_path, source, write_map(tmp_path), block=32, chunk=16)
    expected = np.full((90, 120), 255)
    expected[10:30, 5:25] = 0
    expected[80:90, 100:110] = 1
    assert np.array_equal(labels, expected)
    assert summary.left_out == 1
    assert Masks.open(tmp_path / "labels.zarr").georef.crs == "EPSG:32633"


@pytest.mark.parametrize("in_memory", [True, False])
def test_another_crs_is_projected(tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr(opening, "_MOST_IN_MEMORY", 1000 if in_memory else 0)
    world = transform_geom("EPSG:32633", "OGC:CRS84", shapely.geometry.mapping(square(20, 30, 40)))
    image = write_map(tmp_path)
    # RFC 7946: longitude and latitude; GeoJSON of 2008 and GeoPackage name their CRS.
    of_geojson, _ = painted(tmp_path, write_geojson(tmp_path, [feature("a", world)]), image)
    layer = write_layer(tmp_path / "drawn.gpkg", [("a", shapely.geometry.shape(world))], "EPSG:4326")
    of_layer, _ = painted(tmp_path, layer, image, block=32, chunk=16)
    expected = np.zeros((90, 120), bool)
    expected[30:70, 20:60] = True
    for labels in (of_geojson, of_layer):
        assert ((labels == 0) != expected).sum() <= 2  # straight edges bend a little
    named = {"crs": {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32633"}}}
    mapped = [feature("a", shapely.geometry.mapping(square(20, 30, 40)))]
    labels, _ = painted(tmp_path, write_geojson(tmp_path, mapped, **named), image)
    assert np.array_equal(labels == 0, expected)


def test_pixels_on_a_map_and_a_transform_of_one_s_own(tmp_path):
    image = write_map(tmp_path)
    labels, _ = painted(tmp_path, write_geojson(tmp_path, TWO), image, coordinates="pixels")
    assert (labels != 255).sum() == 950
    up = [feature("a", rectangle(10, -20, 40, -5))]
    labels, _ = painted(tmp_path, write_geojson(tmp_path, up), image, transform=[1, 0, 0, 0, -1, 0])
    assert (labels[5:20, 10:40] == 0).all()
    assert (labels == 0).sum() == 450


@pytest.mark.parametrize(
    ("features", "config", "message"),
    [
        (TWO, {"classes": ["a"]}, "1 annotations of 'b', which is not among classes a; add it"),
        (
            [feature(None, rectangle(0, 0, 5, 5), kind="x")],
            {},
            "no annotation names a class .* which of kind does",
        ),
        ([feature("a", rectangle(0, 0, 5, 5))], {"rename": {"a": None}}, "no annotation of any class"),
        ([feature("a", rectangle(500, 0, 505, 5))], {}, "no annotation lies on .* columns 500 to 505"),
        (TWO, {"coordinates": "map"}, "has no georeference; give `transform`"),
    ],
)
def test_what_cannot_be_painted(tmp_path, features, config, message):
    with pytest.raises(InputError, match=message):
        painted(tmp_path, write_geojson(tmp_path, features), **config)
    assert not list(tmp_path.glob("labels*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "not GeoJSON"),
        ("[" * 100_000, "not GeoJSON"),
        ("{}", "JSON without features"),
        ("[1]", "JSON without features"),
        ('[{"geometry": {"type": "Polygon", "coordinates": [[1]]}}]', "feature 0: unusable geometry"),
        ('[{"geometry": {"type": "Round"}}]', "feature 0: unusable geometry"),
        (
            '[{"geometry": {"type": "Point", "coordinates": [1e999, 0]}}]',
            "feature 0: a coordinate is not finite",
        ),
    ],
)
def test_files_that_are_no_geojson(tmp_path, text, message):
    path = tmp_path / "drawn.geojson"
    path.write_text(text)
    with pytest.raises(FormatError, match=message):
        painted(tmp_path, path)


def test_layers_that_cannot_be_used(tmp_path):
    path = write_layer(tmp_path / "drawn.gpkg", [("a", square(5, 5, 5))], "EPSG:32633", column="kind")
    image = write_map(tmp_path)
    with pytest.raises(InputError, match=r"has no column classification, class, label; .* which of kind"):
        painted(tmp_path, path, image)
    assert painted(tmp_path, path, image, property="kind")[1].pixels == {"a": 25}
    with pytest.raises(InputError, match="choose one with `layer`, it has drawn"):
        painted(tmp_path, path, image, layer="other")
    (tmp_path / "broken.gpkg").write_bytes(b"SQLite format 3\0 and no more")
    with pytest.raises(FormatError, match="cannot be read"):
        painted(tmp_path, tmp_path / "broken.gpkg", image)
    for name in ("none.gpkg", "none.geojson"):
        with pytest.raises(MissingError, match="no such file"):
            painted(tmp_path, tmp_path / name, image)


@pytest.mark.parametrize("package", ["rasterio", "shapely"])
def test_a_package_that_is_not_there_is_named(tmp_path, monkeypatch, package):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found(name))
    with pytest.raises(InputError, match=rf"needs {package}; run: pip install 'unet-batch\[geo\]'"):
        painted(tmp_path, write_geojson(tmp_path, TWO))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"classes": ["a", "a"]}, "name one twice"),
        ({"classes": ["a"], "rest": "b"}, "class 'b' is not among classes"),
        ({"transform": [0, 0, 0, 0, 0, 0]}, "cannot be inverted"),
        ({"transform": [1, 0, 0, 0, 1, 0], "coordinates": "pixels"}, "exclude each other"),
    ],
)
def test_settings_that_cannot_be_used(config, message):
    with pytest.raises(ValueError, match=message):
        AnnotationsConfig(**config)


def test_an_output_in_the_way_stays(tmp_path):
    image, source = write_image(tmp_path), write_geojson(tmp_path, TWO)
    ingest_annotations(image, source, tmp_path / "labels.zarr")
    with pytest.raises(OutputError, match="add --overwrite"):
        ingest_annotations(image, source, tmp_path / "labels.zarr")


def test_the_command_line(tmp_path):
    image, source = str(write_image(tmp_path)), str(write_geojson(tmp_path, TWO))
    out = str(tmp_path / "labels.zarr")
    arguments = ["ingest", "annotations", image, source, out, "--quiet", "--set", "rest=ground"]
    found = CliRunner().invoke(cli, arguments)
    assert found.exit_code == 0, found.output
    assert "   1  a: 1 annotations, 500 px" in found.output
    found = CliRunner().invoke(cli, [*arguments, "--overwrite", "--json"])
    assert json.loads(found.output)["pixels"] == {"ground": 9850, "a": 500, "b": 450}
    found = CliRunner().invoke(cli, [*arguments, "--overwrite", "--json-lines"])
    assert json.loads(found.output.splitlines()[-1])["event"] == "summary"
    with pytest.raises(ConfigError, match="did you mean `rest`"):
        CliRunner().invoke(
            cli, [*arguments[:-1], "rst=ground"], catch_exceptions=False, standalone_mode=False
        )


def test_a_stopped_painting_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    image, source = write_image(tmp_path), write_geojson(tmp_path, TWO)
    config = AnnotationsConfig(block=16, chunk=8, workers=0)
    at_once = ingest_annotations(image, source, tmp_path / "at_once.zarr", config)
    seen = []
    hooks = Hooks(lambda event, _: seen.append(event.number) if event else None, lambda: len(seen) >= 3)
    out = tmp_path / "labels.zarr"
    assert not ingest_annotations(image, source, out, config, hooks=hooks).finished
    assert not out.exists()
    later = Hooks(lambda event, _: seen.append(event.number) if event else None)
    found = ingest_annotations(image, source, out, config, hooks=later)
    assert found.pixels == at_once.pixels
    assert found.unlabelled == at_once.unlabelled
    assert len(seen) == len(set(seen)) > 3
    assert shard_hashes(out) == shard_hashes(tmp_path / "at_once.zarr")

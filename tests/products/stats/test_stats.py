"""Areas per class and zone, by blocks, against the whole raster; against a reference; and from the ledger."""

import errno
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import rasterize

from tests.cli.program import call
from tests.products.worlds import NAMES, blobs, write_image, write_masks
from unet_batch.engine.progress import Hooks
from unet_batch.errors import FormatError, InputError, MissingError, OutputError
from unet_batch.products.evaluate import evaluate
from unet_batch.products.stats import block
from unet_batch.products.stats.config import StatsConfig
from unet_batch.products.stats.run import stats
from unet_batch.products.stats.table import write
from unet_batch.store.georef import GeoReference
from unet_batch.store.journal import Entry, Status
from unet_batch.store.ledger import Ledger

SERIAL = StatsConfig(workers=0)
SHAPE = (70, 90)


@pytest.fixture
def labels():
    found = blobs(SHAPE, 4)
    found[:6, :20] = 255
    return found


@pytest.fixture
def masks(tmp_path, labels):
    return write_masks(tmp_path / "masks", labels, pixel_size={"y": 2.0, "x": 0.5}, unit="micrometer")


def write_zones(path, polygons, names=None, crs=None):
    features = [
        {"type": "Feature", "properties": {"name": name}, "geometry": json.loads(shapely.to_geojson(polygon))}
        for name, polygon in zip(names or map(str, range(len(polygons))), polygons, strict=True)
    ]
    collection = {"type": "FeatureCollection", "features": features}
    if crs is not None:
        collection["crs"] = {"type": "name", "properties": {"name": crs}}
    path.write_text(json.dumps(collection))
    return path


def by_zone(rows):
    return {(row.get("zone"), row["class"]): row for row in rows}


def test_areas_of_the_whole(tmp_path, masks, labels):
    found = stats(masks, tmp_path / "areas.csv", SERIAL)
    counts = [int((labels == k).sum()) for k in range(3)]
    assert [row["pixels"] for row in found.rows] == counts
    assert [row["share"] for row in found.rows] == [n / sum(counts) for n in counts]
    assert [row["area"] for row in found.rows] == [float(n) for n in counts]
    assert {row["unit"] for row in found.rows} == {"micrometer²"}
    table = pyarrow.csv.read_csv(tmp_path / "areas.csv").to_pylist()
    assert [row["pixels"] for row in table] == counts


corners = st.lists(st.tuples(st.floats(-20, 110), st.floats(-20, 90)), min_size=3, max_size=6)


@settings(max_examples=12, deadline=None)
@given(st.lists(corners, min_size=1, max_size=4))
def test_zones_are_those_of_the_whole_raster(tmp_path_factory, rings):
    folder, labels = tmp_path_factory.mktemp("zones"), blobs(SHAPE, 4)
    polygons = [shapely.Polygon(ring).convex_hull.buffer(0.3) for ring in rings]
    zones = write_zones(folder / "zones.geojson", polygons)
    masks = write_masks(folder / "masks", labels, levels=1)
    found = by_zone(stats(masks, folder / "areas.parquet", SERIAL, zones=zones).rows)
    for number, polygon in enumerate(polygons):  # they may overlap, so each has a raster of its own
        inside = rasterize([polygon], SHAPE) == 1
        for value, name in enumerate(NAMES):
            assert found[str(number), name]["pixels"] == ((labels == value) & inside).sum()


def test_a_zone_outside_the_image_has_no_area(tmp_path, masks):
    polygons = [shapely.box(0, 0, 50, 50), shapely.box(500, 500, 600, 600)]
    zones = write_zones(tmp_path / "z.geojson", polygons, ["north", "far"])
    found = by_zone(stats(masks, tmp_path / "a.parquet", SERIAL, zones=zones).rows)
    assert {found["far", name]["area"] for name in NAMES} == {None}
    assert None not in {found["north", name]["area"] for name in NAMES}
    answer = call("stats", masks, tmp_path / "a.csv", "--zones", zones, "--set", "workers=0", "-q")
    lines = [line for line in answer.out.splitlines() if line.startswith("far")]
    assert len(lines) == 1
    assert "outside the image" in lines[0]


@pytest.mark.parametrize(
    ("owners", "expected"), [(("Ann", "Bo"), {"Ann", "Bo"}), (("Ann", "Ann"), {"1", "2"})]
)
def test_zones_have_the_names_that_tell_them_apart(tmp_path, masks, owners, expected):
    zones = write_zones(tmp_path / "z.geojson", [shapely.box(0, 0, 9, 9), shapely.box(9, 9, 30, 30)], owners)
    zones.write_text(zones.read_text().replace('"name": "', '"owner": "'))
    assert {row["zone"] for row in stats(masks, tmp_path / "a.csv", SERIAL, zones=zones).rows} == expected


def test_zones_in_another_reference_system(tmp_path, labels):
    utm = GeoReference("EPSG:32633", (10.0, 0, 500000.0, 0, -10.0, 5000000.0))
    masks = write_masks(tmp_path / "masks", labels, georef=utm)
    left = shapely.box(500000, 4999000, 500450, 5000000)
    from pyproj import Transformer

    project = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    degrees = shapely.transform(left, lambda p: np.column_stack(project.transform(*p.T)))
    for name, polygon, crs in (("utm", left, "EPSG:32633"), ("degrees", degrees, None)):
        zones = write_zones(tmp_path / f"{name}.geojson", [polygon], [name], crs)
        found = stats(masks, tmp_path / f"{name}.csv", SERIAL, zones=zones).rows
        assert [row["pixels"] for row in found] == [(labels[:, :45] == k).sum() for k in range(3)]
        assert [row["area"] for row in found] == [100.0 * (labels[:, :45] == k).sum() for k in range(3)]
        assert {row["unit"] for row in found} == {"metre²"}


def test_areas_on_a_map_in_degrees_depend_on_the_latitude(tmp_path):
    from pyproj import Geod

    labels = np.zeros((60, 40), "u1")
    labels[30:] = 1
    degrees = GeoReference("EPSG:4326", (0.5, 0, 10.0, 0, -0.5, 60.0))
    found = stats(write_masks(tmp_path / "m", labels, georef=degrees), tmp_path / "a.csv", SERIAL).rows
    for row, (top, bottom) in zip(found, ((60, 45), (45, 30)), strict=False):
        lons, lats = np.linspace(10, 30, 2001), np.full(2001, 1.0)
        ring = np.r_[lons, lons[::-1]], np.r_[lats * top, lats * bottom]
        area = abs(Geod(ellps="WGS84").polygon_area_perimeter(*ring)[0])
        assert row["area"] == pytest.approx(area, rel=1e-4)


def test_a_reference_by_zones(tmp_path, masks, labels):
    truth = blobs(SHAPE, 9)
    truth[40:44] = 255
    path = write_image(tmp_path / "truth", truth, "yx")
    zones = write_zones(tmp_path / "z.geojson", [shapely.box(0, 0, 33, 70), shapely.box(33, 0, 90, 70)])
    found = by_zone(stats(masks, tmp_path / "a.parquet", SERIAL, zones=zones, reference=path).rows)
    for zone, part in (("0", np.s_[:, :33]), ("1", np.s_[:, 33:])):
        t, f = truth[part], labels[part]
        both = (t != 255) & (f != 255)
        for k, name in enumerate(NAMES):
            row = found[zone, name]
            assert row["pixels"] == (f == k).sum()
            assert row["agreeing_pixels"] == ((t == k) & (f == k)).sum()
            assert row["reference_pixels"] == (t[both] == k).sum()
            assert row["recall"] == pytest.approx((f[both & (t == k)] == k).mean())
            assert [row[f"reference_{name}"] for name in (*NAMES, "unlabelled")] == [
                ((t == value) & (f == k)).sum() for value in (0, 1, 2, 255)
            ]


def test_a_reference_without_zones_agrees_with_evaluate(tmp_path, masks):
    truth = write_image(tmp_path / "truth", blobs(SHAPE, 9), "yx")
    scores = evaluate(masks, truth).classes
    for row in stats(masks, tmp_path / "a.csv", SERIAL, reference=truth).rows:
        one = scores[row["class"]]
        assert (row["dice"], row["iou"], row["precision"], row["recall"]) == (
            one.dice,
            one.iou,
            one.precision,
            one.recall,
        )


def test_channels_of_multilabel_masks(tmp_path):
    labels = np.stack([blobs(SHAPE, seed, 2) for seed in (1, 2)])
    labels[0, :9] = 255
    masks = write_masks(tmp_path / "m", labels, "yx", ("road", "tree"), "multilabel")
    truth = write_image(tmp_path / "t", np.stack([blobs(SHAPE, seed, 2) for seed in (3, 4)]), "cyx")
    found = stats(masks, tmp_path / "a.csv", SERIAL, reference=truth).rows
    assert [row["pixels"] for row in found] == [(plane == 1).sum() for plane in labels]
    assert found[0]["share"] == (labels[0] == 1).sum() / (labels[0] != 255).sum()
    assert [row["dice"] for row in found] == [one.dice for one in evaluate(masks, truth).classes.values()]


def test_coarse_levels_and_volumes(tmp_path):
    labels = np.repeat(np.repeat(np.repeat(blobs((8, 20, 20), 1), 2, 0), 2, 1), 2, 2)
    masks = write_masks(tmp_path / "m", labels, "zyx", pixel_size={"z": 3.0, "y": 1.0, "x": 1.0}, levels=2)
    fine = stats(masks, tmp_path / "a.csv", SERIAL).rows
    coarse = stats(masks, tmp_path / "b.csv", StatsConfig(workers=0, level=1)).rows
    assert [row["volume"] for row in fine] == [3.0 * (labels == k).sum() for k in range(3)]
    assert [row["volume"] for row in fine] == [row["volume"] for row in coarse]
    assert [row["pixels"] for row in fine] == [8 * row["pixels"] for row in coarse]


def test_the_ledger_is_taken_at_its_word(tmp_path, masks, monkeypatch):
    with Ledger.create(masks, (3, 3), 3) as ledger:
        for index in np.ndindex(3, 3):
            ledger.record(Entry(index, Status.DONE, counts=(5, 3, 2)))
    monkeypatch.setattr(block.Tools, "pairs", None)  # no pixel is read
    found = stats(masks, tmp_path / "a.csv", SERIAL).rows
    assert [row["pixels"] for row in found] == [45, 27, 18]
    assert [row["area"] for row in found] == [45.0, 27.0, 18.0]


def test_masks_that_are_not_finished_are_refused(tmp_path, masks):
    Ledger.create(masks, (3, 3), 3).close()
    with pytest.raises(InputError, match="9 blocks are not predicted yet"):
        stats(masks, tmp_path / "a.csv", SERIAL)


def test_a_stopped_run_goes_on(tmp_path, masks):
    zones = write_zones(tmp_path / "z.geojson", [shapely.box(0, 0, 90, 70)])
    whole = stats(masks, tmp_path / "a.parquet", SERIAL, zones=zones)
    seen = []
    hooks = Hooks(lambda event, _: seen.append(event) if event else None, lambda: len(seen) > 2)
    assert not stats(masks, tmp_path / "b.parquet", SERIAL, zones=zones, hooks=hooks).finished
    assert not (tmp_path / "b.parquet").exists()
    assert stats(masks, tmp_path / "b.parquet", SERIAL, zones=zones).rows == whole.rows
    assert pq.read_table(tmp_path / "a.parquet").equals(pq.read_table(tmp_path / "b.parquet"))
    assert not list(tmp_path.glob("*.partial"))


def test_what_cannot_be_used_is_named(tmp_path, masks):
    zones = write_zones(tmp_path / "z.geojson", [shapely.box(0, 0, 9, 9)])
    (tmp_path / "text.geojson").write_text("no")
    points = write_zones(tmp_path / "p.geojson", [shapely.Point(1, 1)])
    before = sorted(entry.name for entry in tmp_path.iterdir())
    cases = [
        ("a.txt", {}, InputError, ".csv"),
        ("a.csv", {"zones": tmp_path / "none.gpkg"}, MissingError, "no such file"),
        ("a.csv", {"zones": tmp_path / "text.geojson"}, FormatError, "no vector file"),
        ("a.csv", {"zones": points}, InputError, "must be polygons"),
        ("a.csv", {"zones": zones, "config": StatsConfig(workers=0, zone="owner")}, InputError, "owner"),
        ("a.csv", {"zones": zones, "config": StatsConfig(workers=0, layer="x")}, InputError, "no layer x"),
        ("a.csv", {"config": StatsConfig(level=9)}, InputError, "no level 9"),
        ("masks", {}, InputError, "ends in"),
    ]
    for name, keys, error, says in cases:
        with pytest.raises(error, match=says):
            stats(masks, tmp_path / name, **{"config": SERIAL, **keys})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == before
    stats(masks, tmp_path / "a.csv", SERIAL)
    with pytest.raises(OutputError, match="exists already"):
        stats(masks, tmp_path / "a.csv", SERIAL)


def test_the_program(tmp_path, masks, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_zones(tmp_path / "z.geojson", [shapely.box(0, 0, 50, 50)], ["north"])
    answer = call("stats", "masks", "a.csv", "--zones", "z.geojson", "--set", "workers=0", "-q")
    assert answer.code == 0
    assert "north" in answer.out
    assert "µm²" in answer.out
    assert len(call("stats", "masks", "b.parquet", "--json", "-q").json["rows"]) == 3
    assert "no such file" in call("stats", "masks", "c.csv", "--zones", "none").refusal


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_table_is_there_whole_or_not_at_all(tmp_path, monkeypatch, name):
    def torn(_, place):
        (place.open("wb") if isinstance(place, Path) else place).write(b"torn")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pa.csv, "write_csv", torn)
    monkeypatch.setattr(pa.parquet, "write_table", torn)
    with pytest.raises(OutputError, match="disk or quota is full"):
        write(tmp_path / name, [{"class": "a", "pixels": 1}])
    assert not list(tmp_path.iterdir())


def test_names_are_no_formulas_in_a_spreadsheet(tmp_path):
    rows = [{"zone": "=HYPERLINK(1)", "class": "@x", "pixels": -1}, {"zone": "a", "class": "+b", "pixels": 2}]
    write(tmp_path / "t.csv", rows)
    assert (tmp_path / "t.csv").read_text().splitlines()[1:] == [
        '"\'=HYPERLINK(1)","\'@x",-1',
        '"a","\'+b",2',
    ]
    write(tmp_path / "t.parquet", rows)
    assert pq.read_table(tmp_path / "t.parquet").to_pylist() == rows

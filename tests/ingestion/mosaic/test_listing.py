"""Indexes of scenes: CSV, GeoJSON, GDAL's tile index; and what cannot be one."""

import json
import shutil
import subprocess

import pytest

from tests.formats.geo_files import noise, write_scene
from tests.ingestion.mosaic.test_scenes import at
from unet_batch.errors import FormatError, InputError, MissingError
from unet_batch.ingestion.mosaic.listing import Listed, list_scenes, read_index


def test_a_csv(tmp_path):
    (tmp_path / "i.csv").write_text("date,Path\n2020,a.tif\n2021,/b.tif\n2022,s3://bucket/c.tif\n", "utf-8")
    found = read_index(tmp_path / "i.csv", remote=True)
    assert found == [Listed(str(tmp_path / "a.tif")), Listed("/b.tif"), Listed("s3://bucket/c.tif")]


def test_a_csv_with_positions(tmp_path):
    (tmp_path / "i.csv").write_text("file,x,y\na.tif,1.5,-2\n")
    assert read_index(tmp_path / "i.csv") == [Listed(str(tmp_path / "a.tif"), 1.5, -2.0)]


def test_a_geojson(tmp_path):
    features = [{"type": "Feature", "geometry": None, "properties": {"location": "a.tif", "x": None}}]
    (tmp_path / "i.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    assert read_index(tmp_path / "i.geojson") == [Listed(str(tmp_path / "a.tif"))]


@pytest.mark.skipif(shutil.which("gdaltindex") is None, reason="no gdaltindex here")
def test_gdals_tile_index(tmp_path):
    paths = [write_scene(tmp_path / f"{n}.tif", noise((1, 9, 9)), at(0, 9 * n)) for n in range(2)]
    subprocess.run(
        ["gdaltindex", "-f", "GPKG", "i.gti.gpkg", *paths], cwd=tmp_path, check=True, capture_output=True
    )
    assert read_index(tmp_path / "i.gti.gpkg") == [Listed(str(path)) for path in paths]
    text = "<GDALTileIndexDataset><IndexDataset>i.gti.gpkg</IndexDataset></GDALTileIndexDataset>"
    (tmp_path / "i.gti").write_text(text)
    assert read_index(tmp_path / "i.gti") == [Listed(str(path)) for path in paths]


def test_a_folder_and_no_scene_twice(tmp_path):
    for name in ("b.tif", "a.TIFF", "c.txt"):
        (tmp_path / name).write_bytes(b"")
    found = list_scenes([tmp_path, tmp_path / "b.tif"], None)
    assert [scene.path for scene in found] == [str(tmp_path / "a.TIFF"), str(tmp_path / "b.tif")]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("i.csv", "name\na.tif\n", "row 1 names no scene"),
        ("i.csv", "path,x,y\na.tif,1,east\n", "row 1 has position '1', 'east'"),
        ("i.geojson", "{", "cannot be read as an index"),
        ("i.geojson", '{"features": [{}]}', "cannot be read as an index"),
        ("i.gti", "<a/>", "no <IndexDataset>"),
        ("i.gti", "<a", "cannot be read as an index"),
        ("i.gpkg", "none", "no index that is known"),
    ],
)
def test_what_is_no_index(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(FormatError, match=message):
        read_index(tmp_path / name)


def test_nothing_to_list(tmp_path):
    (tmp_path / "i.csv").write_text("path\n")
    with pytest.raises(InputError, match="lists no scenes"):
        read_index(tmp_path / "i.csv")
    with pytest.raises(MissingError, match="no such index"):
        read_index(tmp_path / "none.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no TIFFs"):
        list_scenes([tmp_path / "empty"], None)


@pytest.mark.parametrize(
    "name", ["http://127.0.0.1:1/a.tif", "/vsicurl/http://127.0.0.1:1/a.tif", "WMS:127.0.0.1:1/"]
)
@pytest.mark.parametrize("kind", ["csv", "geojson"])
def test_scenes_on_the_network_must_be_asked_for(tmp_path, kind, name):
    features = [{"type": "Feature", "geometry": None, "properties": {"path": name}}]
    text = f"path\n{name}\n" if kind == "csv" else json.dumps({"features": features})
    (tmp_path / f"i.{kind}").write_text(text)
    with pytest.raises(InputError, match=r"row 1: names .*not on this machine; allow it with --remote"):
        list_scenes([], tmp_path / f"i.{kind}")
    assert len(list_scenes([], tmp_path / f"i.{kind}", remote=True)) == 1
    assert list_scenes(["https://host/a.tif"], None) == (Listed("https://host/a.tif"),)


def test_an_index_that_names_a_server_is_not_opened(tmp_path):
    (tmp_path / "i.vrt").write_text("\n<OGRVRTDataSource><OGRVRTLayer name='a'/></OGRVRTDataSource>")
    with pytest.raises(FormatError, match="it is XML"):
        read_index(tmp_path / "i.vrt")

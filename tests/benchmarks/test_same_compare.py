"""The comparison of two states of the package sees what differs, and not what always does."""

import json
import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.same_compare import differences, finished, of_values


@pytest.fixture
def sides(tmp_path):
    """Two folders with the same store in each."""
    for name in ("was", "now"):
        root = tmp_path / name / "out.zarr"
        (root / "0" / "c").mkdir(parents=True)
        (root / "ledger").mkdir()
        (root / "0" / "c" / "0").write_bytes(bytes(range(100)))
        group = {
            "plan": {"tile": 64},
            "created": name,
            "provenance": {"image": str(root.parent / "image.zarr")},
        }
        (root / "zarr.json").write_text(json.dumps(group))
        (root / "ledger" / "runs.jsonl").write_text(
            json.dumps({"seconds": len(name), "blocks": {"done": 4}}) + "\n"
        )
    return tmp_path / "was" / "out.zarr", tmp_path / "now" / "out.zarr"


def test_times_machines_and_paths_are_no_difference(sides):
    assert list(differences(*sides)) == []


def test_a_flipped_byte_is_found(sides):
    shard = sides[1] / "0" / "c" / "0"
    shard.write_bytes(shard.read_bytes().replace(b"\x07", b"\x06"))
    assert list(differences(*sides)) == [("0/c/0", "100 and 100 bytes, unlike from 7 on")]


def test_keys_and_files_that_come_or_go_are_found(sides):
    (sides[0] / "zarr.json").write_text(json.dumps({"plan": {"tile": 64, "batch": 1}}))
    (sides[1] / "ledger" / "runs.jsonl").unlink()
    assert list(differences(*sides)) == [
        ("ledger/runs.jsonl", "only before"),
        ("zarr.json", "plan.batch: only before"),
        ("zarr.json", "provenance: only after"),
    ]


def test_an_answer_may_say_more_but_not_less():
    assert list(of_values({"blocks": 4}, {"blocks": 4, "levels": 2}, gains=False)) == []
    assert list(of_values({"blocks": 4, "levels": 2}, {"blocks": 5}, gains=False)) == [
        "blocks: 4 -> 5",
        "levels: only before",
    ]


def test_rows_of_a_geopackage(tmp_path):
    for name, area in (("was", 4.0), ("now", 5.0)):
        with sqlite3.connect(tmp_path / f"{name}.gpkg") as base:
            base.execute("CREATE TABLE mask (area)")
            base.execute("INSERT INTO mask VALUES (?)", (area,))
    assert list(differences(tmp_path / "was.gpkg", tmp_path / "now.gpkg")) == [
        (".", "table mask: 1 and 1 rows, unlike")
    ]


def test_rows_and_metadata_of_parquet(tmp_path):
    for name, area in (("was", 4.0), ("now", 5.0)):
        table = pa.table({"area": [area]}).replace_schema_metadata({"made": json.dumps({"unit": name})})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    found = [how for _, how in differences(tmp_path / "was.parquet", tmp_path / "now.parquet")]
    assert found == ["rows or columns ((1, 1) and (1, 1))", 'metadata./made.unit: "was" -> "now"']


def test_networks_whose_metadata_stand_in_another_order(tmp_path):
    for name, header, weights in (
        ("was", '{"a": 1, "b": 2}', b"1234"),
        ("now", '{"b": 2, "a": 1}', b"1234"),
        ("mid", '{"b": 2, "a": 1}', b"1235"),
    ):
        data = len(header).to_bytes(8, "little") + header.encode() + weights
        (tmp_path / f"{name}.safetensors").write_bytes(data)
    was, now, mid = (tmp_path / f"{name}.safetensors" for name in ("was", "now", "mid"))
    assert list(differences(was, now)) == []
    assert list(differences(was, mid)) == [(".", "4 and 4 bytes, unlike from 3 on")]


@pytest.mark.parametrize(
    ("attributes", "whole"),
    [
        ({"ome": {}, "unet_batch": {"plan": {}, "finished": True}}, True),
        ({"ome": {}, "unet_batch": {"plan": {}}}, False),
        ({"ome": {}, "unet_batch": {"exact_levels": True}}, True),
        ({}, False),
    ],
)
def test_stores_that_are_whole(tmp_path, attributes, whole):
    (tmp_path / "out.zarr").mkdir()
    (tmp_path / "out.zarr" / "zarr.json").write_text(json.dumps({"attributes": attributes}))
    assert finished(tmp_path / "out.zarr") is whole

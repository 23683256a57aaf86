"""Campaigns write results only where they are told to."""

import json

from tests.kept import VARIABLE, keep


def test_nothing_is_written_unless_a_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    keep("kills", kills=50)
    assert list(tmp_path.iterdir()) == []


def test_results_are_replaced_or_come_beside_those_under_other_keys(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    keep("kills", kills=4)
    keep("kills", kills=50)
    keep("blocks", "10", seconds=1)
    keep("blocks", "100", seconds=2)
    assert json.loads((tmp_path / "kills.json").read_text())["kills"] == 50
    found = json.loads((tmp_path / "blocks.json").read_text())
    assert {key: value["seconds"] for key, value in found.items()} == {"10": 1, "100": 2}
    assert all("machine" in value for value in found.values())

"""CONTRIBUTING points to files and names that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| .+? \| `(unet_batch/[\w/]+\.py)` \| `(\w+)` \|$", TEXT, re.M)


def test_there_are_places_for_what_people_want_to_change():
    assert len(ROWS) >= 20
    assert len(set(ROWS)) == len(ROWS)


@pytest.mark.parametrize(("file", "name"), ROWS, ids=lambda one: one.rpartition("/")[2])
def test_each_is_there(file, name):
    source = (ROOT / file).read_text(encoding="utf-8")
    assert re.search(rf"^\s*(?:(?:def|class) {name}\b|{name}(?:: [^=]+)? = )", source, re.M), (file, name)


def test_torch_is_imported_where_the_text_says():
    said = re.search(r"torch\nin ([^.]+)\.", TEXT) or re.search(r"torch in ([^.]+)\.", TEXT)
    assert said is not None
    packages = set(re.findall(r"`(\w+)/`", said[1]))
    pattern = re.compile(r"^\s*(?:import|from) (?:torch|safetensors|openvino)\b", re.M)
    files = [file for file in (ROOT / "unet_batch").rglob("*.py") if pattern.search(file.read_text())]
    assert {file.relative_to(ROOT / "unet_batch").parts[0] for file in files} == packages

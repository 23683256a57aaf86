"""The laws of .importlinter hold, and each of them can fail."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# What must not be imported where, at least once for every law.
FORBIDDEN = [
    ("tiling/box.py", "unet_batch.store.image"),  # a floor above
    ("store/image.py", "unet_batch.models.spec"),  # another room of the same floor
    ("prediction/plan.py", "unet_batch.ingestion.run"),  # another verb
    ("prediction/plan.py", "zarr"),
    ("prediction/plan.py", "distributed"),
    ("prediction/plan.py", "rich"),
    ("products/evaluate.py", "tornado"),
    ("products/evaluate.py", "unet_batch.viewing.run"),  # the viewer lies above
    ("products/evaluate.py", "PIL"),
    ("prediction/plan.py", "rasterio"),
    ("store/pyramid.py", "torch"),
    ("prediction/plan.py", "torch"),
    ("prediction/plan.py", "scipy"),
    ("cluster/config.py", "torch"),
]


def lint_imports(folder):
    code = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--no-logo"],
        cwd=folder,
        env=os.environ | {"COLUMNS": "300"},
        capture_output=True,
        text=True,
        check=False,
    )


def copy_of_the_house(folder):
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "unet_batch", folder / "unet_batch", ignore=ignore)
    shutil.copy(ROOT / ".importlinter", folder)
    return folder


@pytest.fixture(scope="module")
def complaints(tmp_path_factory):
    house = copy_of_the_house(tmp_path_factory.mktemp("house"))
    for path, imported in FORBIDDEN:
        with (house / "unet_batch" / path).open("a", encoding="utf-8") as file:
            file.write(f"\n\ndef late():\n    import {imported}\n")
    found = lint_imports(house)
    assert found.returncode == 1
    return found.stdout


def test_the_laws_hold():
    found = lint_imports(ROOT)
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize(("path", "imported"), FORBIDDEN)
def test_a_forbidden_import_is_found(complaints, path, imported):
    importer = "unet_batch." + path.removesuffix(".py").replace("/", ".")
    assert f"{importer} -> {imported} (" in complaints


def test_every_law_can_be_broken(complaints):
    laws = re.findall(r"^name = (.+)$", (ROOT / ".importlinter").read_text(encoding="utf-8"), re.MULTILINE)
    assert laws
    assert [law for law in laws if f"{law} BROKEN" not in complaints] == []


def test_a_new_room_must_be_given_a_floor(tmp_path):
    house = copy_of_the_house(tmp_path)
    (house / "unet_batch" / "novelty.py").touch()
    found = lint_imports(house)
    assert found.returncode == 1
    assert "novelty" in found.stdout, found.stdout + found.stderr

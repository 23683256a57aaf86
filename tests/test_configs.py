"""Every YAML under configs/ loads, says what each of its keys means, and describes something real."""

from pathlib import Path

import pytest
import torch

from unet_batch.cli.schema import KINDS, settings_of
from unet_batch.config import load, read_yaml
from unet_batch.models.build import build
from unet_batch.models.spec import ModelSpec

CONFIGS = Path(__file__).parents[1] / "configs"

FILES = sorted(path for path in CONFIGS.rglob("*") if path.is_file())
COMPLETE = [p for p in FILES if p.name in ("default.yaml", "slurm.yaml") or p.parent.name == "products"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_file_is_what_its_folder_says(path):
    folder, name = path.relative_to(CONFIGS).parts
    kind = folder if folder in KINDS else path.stem  # in configs/products, a file's name is its kind
    assert kind in KINDS, f"{path}: name its class in unet_batch/cli/schema.py, so that it is checked"
    assert name.endswith(".yaml")
    load(settings_of(kind), path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_key_says_what_it_means(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# "), "open with what the file is for"
    bare = [line for line in lines if line.strip() and "# " not in line]
    assert not bare, "a comment on every key"


@pytest.mark.parametrize("path", COMPLETE, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_it_lists_all_settings_with_their_defaults(path):
    kind = settings_of(path.parent.name if path.parent.name in KINDS else path.stem)
    assert set(read_yaml(path)) == set(kind.model_fields)
    assert load(kind, path) == kind()


@pytest.mark.parametrize("path", sorted((CONFIGS / "model").iterdir()), ids=lambda path: path.name)
def test_a_network_can_be_built(path):
    spec = load(ModelSpec, path)
    with torch.device("meta"):  # shapes without memory
        model = build(spec)
        size = spec.input_size(1)
        logits = model(torch.zeros((2, spec.in_channels, *(size,) * spec.dims)))
    assert logits.shape[:2] == (2, len(spec.classes))

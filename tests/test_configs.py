"""Every YAML under configs/ loads, says what each of its keys means, and describes something real."""

from pathlib import Path

import pytest
import torch

from unet_batch.cluster.slurm.config import SlurmConfig
from unet_batch.config import Config, load, read_yaml
from unet_batch.ingest.config import IngestConfig
from unet_batch.ingest.mosaic.config import MosaicConfig
from unet_batch.models.build import build
from unet_batch.models.spec import ModelSpec
from unet_batch.predict.config import PredictConfig
from unet_batch.products.objects.config import ObjectsConfig

CONFIGS = Path(__file__).parents[1] / "configs"
KINDS: dict[str, type[Config]] = {
    "cluster": SlurmConfig,
    "ingest": IngestConfig,
    "model": ModelSpec,
    "mosaic": MosaicConfig,
    "predict": PredictConfig,
    "products/objects": ObjectsConfig,  # in configs/products, a file's name is its kind
}
DEFAULTS = {"cluster": "slurm.yaml", "ingest": "default.yaml", "predict": "default.yaml"}

FILES = sorted(path for path in CONFIGS.rglob("*") if path.is_file())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_a_file_is_what_its_folder_says(path):
    folder, name = path.relative_to(CONFIGS).parts
    kind = KINDS.get(folder) or KINDS.get(f"{folder}/{path.stem}")
    assert kind, f"{path}: name the class of configs/{folder} in KINDS, so that its files are checked"
    assert name.endswith(".yaml")
    load(kind, path)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_key_says_what_it_means(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# "), "open with what the file is for"
    bare = [line for line in lines if line.strip() and "# " not in line]
    assert not bare, "a comment on every key"


@pytest.mark.parametrize("kind", DEFAULTS)
@pytest.mark.parametrize("kind", ["ingest", "mosaic", "predict"])
def test_default_lists_all_settings_with_their_defaults(kind):
    path = CONFIGS / kind / DEFAULTS[kind]
    assert set(read_yaml(path)) == set(KINDS[kind].model_fields)
    assert load(KINDS[kind], path) == KINDS[kind]()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("products/")])
def test_a_product_lists_all_settings_with_their_defaults(kind):
    path = CONFIGS / f"{kind}.yaml"
    assert set(read_yaml(path)) == set(KINDS[kind].model_fields)
    assert load(KINDS[kind], path) == KINDS[kind]()


@pytest.mark.parametrize("path", sorted((CONFIGS / "model").iterdir()), ids=lambda path: path.name)
def test_a_network_can_be_built(path):
    spec = load(ModelSpec, path)
    with torch.device("meta"):  # shapes without memory
        model = build(spec)
        size = spec.input_size(1)
        logits = model(torch.zeros((2, spec.in_channels, *(size,) * spec.dims)))
    assert logits.shape[:2] == (2, len(spec.classes))

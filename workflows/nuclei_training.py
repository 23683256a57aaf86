"""Trains a network for nuclei of many kinds on the Data Science Bowl 2018 (CC0) and two smaller sets.

    python workflows/nuclei_training.py [--data DATA] [--set KEY=VALUE ...]

DATA/b_dsb2018 holds index.json, train/ and val/, each with images/ and instances/; b_dsb2018_more,
n_nuclei_he_tnbc and n_nuclei_fluo_neuroblastoma are taken too where they lie beside it. None of them is
immunohistochemistry, so samples are also drawn as such while it learns (``augment.restain``). Everything goes
to out/nuclei; run it again and it goes on where it ended. The network is out/nuclei/run/best.safetensors.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import yaml
from nuclei_data import entries, sources

import unet_batch
from unet_batch.cli.stopping import on_signals
from unet_batch.config import load, read_yaml
from unet_batch.errors import UnetBatchError
from unet_batch.training.config import TrainConfig
from unet_batch.training.hooks import Hooks, Progress
from unet_batch.training.run import TrainResult

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "nuclei.yaml"
OUT = Path("out/nuclei")
REPORTED = ("foreground_iou", "dice_nucleus", "dice_border", "ap50", "ap70", "ap90", "mean_ap")


def main() -> None:
    """Read the command line and tell the story."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    data = Path(os.environ.get("UNET_BATCH_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--out", type=Path, default=OUT, help="for the data as Zarr and the run")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    chosen = parser.parse_args()
    try:
        result = train(settings(chosen.data, chosen.out, chosen.overrides))
        if result.finished:
            report(result)
    except UnetBatchError as error:
        parser.exit(2, f"{error}\n")


def settings(data: Path, out: Path, overrides: list[str]) -> TrainConfig:
    """The documented ones with all pictures, also written to ``out``/train.yaml for `unet-batch train`."""
    values: dict[str, Any] = read_yaml(CONFIG)
    found = [entry for entry in entries(data) if entry.use != "test"]
    values["data"]["sources"] = sources(found, out / "data")
    values["run"]["out"] = str(out / "run")
    path = out / "train.yaml"
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


def _tell(progress: Progress) -> None:
    if progress.message or progress.scores or progress.step % 50 == 0:
        print(progress, flush=True)


if __name__ == "__main__":
    main()

"""Membranes of fly brain, from published labels to scores: ingest, train, predict, evaluate.

    python workflows/membranes.py [--data DATA] [--held-out] [--set KEY=VALUE ...]

DATA/a_isbi2012 holds 24 labelled slices of the ISBI 2012 challenge. Everything goes to out/membranes; run it
again and it goes on where it ended. --held-out learns from 16 slices, chooses on 4 and is judged on the last
4, which nothing else saw: that is the score to believe. Without it all 24 teach and choose.
"""

import argparse
import os
from pathlib import Path

import unet_batch
from unet_batch.cli.stopping import on_signals
from unet_batch.config import load
from unet_batch.errors import UnetBatchError
from unet_batch.inference.views import Averaging
from unet_batch.prediction.config import PredictConfig
from unet_batch.training.config import TrainConfig
from unet_batch.training.hooks import Hooks, Progress
from unet_batch.training.run import TrainResult

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "membranes.yaml"
OUT = Path("out/membranes")
HELD_OUT = {"train": [[[0, 16]]], "validation": [[[16, 20]]], "test": [[[20, 24]]]}
REPORTED = ("pixel_error", "dice_membrane", "v_rand", "v_info", "rand_error", "membrane_threshold")


def main() -> None:
    """Read the command line and tell the story."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    data = Path(os.environ.get("UNET_BATCH_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--held-out", action="store_true", help="judge on slices that nothing else saw")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    chosen = parser.parse_args()
    try:
        prepare(chosen.data / "a_isbi2012")
        config = settings(chosen.overrides, held_out=chosen.held_out)
        result = train(config)
        if result.finished:
            predict(Path(result.out), config.validation.tta)
            report(result)
    except UnetBatchError as error:
        parser.exit(2, f"{error}\n")


def prepare(source: Path) -> None:
    """The stack and its labels as Zarr, once."""
    for name, file in (("image", "train-volume"), ("labels", "train-labels")):
        if not (OUT / f"{name}.zarr").exists():
            OUT.mkdir(parents=True, exist_ok=True)
            unet_batch.ingest(source / f"{file}_slices00-23.tif", OUT / f"{name}.zarr")


def settings(overrides: list[str], *, held_out: bool) -> TrainConfig:
    """The documented ones, or those of the honest test."""
    config = load(TrainConfig, CONFIG, overrides)
    if not held_out:
        return config
    source = config.data.sources[0].model_dump() | HELD_OUT
    data = config.data.model_dump() | {"sources": [source]}
    run = config.run.model_dump() | {"out": OUT / "held_out"}
    return TrainConfig.model_validate(config.model_dump() | {"data": data, "run": run})


def train(config: TrainConfig) -> TrainResult:
    """Train, or go on; a signal ends it after its step, for the next call to go on."""
    with on_signals(print, "ending after this step") as stop:
        return unet_batch.train(config, hooks=Hooks(_tell, stop))


def predict(run: Path, tta: Averaging) -> None:
    """The whole stack with the best network, into a mask store that opens with the image."""
    masks = OUT / "image.zarr" / "labels" / run.name
    unet_batch.predict(OUT / "image.zarr", masks, run / "best.safetensors", PredictConfig(workers=0, tta=tta))
    print(f"masks    {masks}")


def report(result: TrainResult) -> None:
    """Scores of the best network."""
    print(f"network  {result.out}/best.safetensors, step {result.best_step} of {result.step}")
    print(f"\n{'score':<20}{'validation':>12}{'test':>12}")
    for name in REPORTED:
        found = (result.validation.get(name), result.test.get(name))
        print(f"{name:<20}" + "".join(f"{'-' if value is None else f'{value:.4f}':>12}" for value in found))
    print(f"\nlook at  {result.out}/predictions.png and curves.png; tensorboard --logdir {result.out}")


def _tell(progress: Progress) -> None:
    if progress.message or progress.scores or progress.step % 50 == 0:
        print(progress, flush=True)


if __name__ == "__main__":
    main()

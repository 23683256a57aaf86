"""Tissue of a whole brain from seven labelled slices: labels to scores in 3-D.

    python workflows/volume.py [--data DATA] [--set KEY=VALUE ...]

DATA/f_3d_mni152 holds the MNI152 template (T1 weighted, 1 mm) and tissue labels. Seven slices are kept as
labels to learn from, all other voxels become unlabelled; the network is judged on the other 182 slices.
Everything goes to out/volume; run it again and it goes on where it ended.
"""

import argparse
import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import unet_batch
from unet_batch.cli.stopping import on_signals
from unet_batch.config import load
from unet_batch.errors import FormatError, MissingError, UnetBatchError
from unet_batch.ingestion.config import IngestConfig
from unet_batch.prediction.config import PredictConfig
from unet_batch.training.config import TrainConfig
from unet_batch.training.hooks import Hooks, Progress
from unet_batch.training.run import TrainResult

CONFIG = Path(__file__).parents[1] / "configs" / "train" / "volume.yaml"
OUT = Path("out/volume")
SLICES = (13, 40, 67, 94, 121, 148, 175)  # along z, evenly spaced
UNLABELLED = 255


def main() -> None:
    """Read the command line and tell the story."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    data = Path(os.environ.get("UNET_BATCH_TEST_DATA", "../shared/data"))
    parser.add_argument("--data", type=Path, default=data)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    chosen = parser.parse_args()
    try:
        prepare(chosen.data / "f_3d_mni152")
        result = train(load(TrainConfig, CONFIG, chosen.overrides))
        if result.finished:
            predict(Path(result.out))
            report(result)
    except UnetBatchError as error:
        parser.exit(2, f"{error}\n")


def prepare(source: Path) -> None:
    """Volume, labels of seven slices to learn from, and those of all others to judge by, as Zarr, once."""
    if (OUT / "other_slices.zarr").exists():
        return
    OUT.mkdir(parents=True, exist_ok=True)
    t1 = read_nifti(source / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
    labels = read_nifti(source / "derived_tissue_labels.nii.gz")
    few, others = np.full_like(labels, UNLABELLED), labels.copy()
    few[list(SLICES)] = labels[list(SLICES)]
    others[list(SLICES)] = UNLABELLED
    for name, volume in (("image", t1), ("seven_slices", few), ("other_slices", others)):
        np.save(OUT / f"{name}.npy", volume)
        unet_batch.ingest(OUT / f"{name}.npy", OUT / f"{name}.zarr", IngestConfig(axes="zyx", overwrite=True))
        (OUT / f"{name}.npy").unlink()


def read_nifti(path: Path) -> NDArray[Any]:
    """(z, y, x) of a gzipped single-file NIfTI-1 of uint8; its header is 352 bytes (nifti.nimh.nih.gov)."""
    try:
        data = gzip.decompress(path.read_bytes())
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file; give the folder of the data with --data") from None
    header = data[:352]
    if header[344:347] != b"n+1" or header[70:72] != b"\x02\x00":
        raise FormatError(f"{path}: no little-endian single-file NIfTI-1 of uint8; convert it")
    count, *extents = np.frombuffer(header[40:56], "<i2").tolist()
    begin = int(np.frombuffer(header[108:112], "<f4")[0])
    shape = tuple(extents[:count])[::-1]  # x runs fastest on disk
    return np.frombuffer(data, np.uint8, int(np.prod(shape)), begin).reshape(shape)


def train(config: TrainConfig) -> TrainResult:
    """Train, or go on; a signal ends it after its step, for the next call to go on."""
    with on_signals(print, "ending after this step") as stop:
        return unet_batch.train(config, hooks=Hooks(_tell, stop))


def predict(run: Path) -> None:
    """The whole volume, into a mask store that opens with the image."""
    masks = OUT / "image.zarr" / "labels" / "tissue"
    unet_batch.predict(OUT / "image.zarr", masks, run / "best.safetensors", PredictConfig(workers=0))
    print(f"masks    {masks}")


def report(result: TrainResult) -> None:
    """Scores on the slices that were not labelled."""
    print(f"network  {result.out}/best.safetensors, step {result.step}\n")
    for name, value in result.test.items():
        print(f"{name:<20}{value:>10.4f}")
    print(f"\nlook at  {result.out}/predictions.png and curves.png; tensorboard --logdir {result.out}")


def _tell(progress: Progress) -> None:
    if progress.message or progress.scores or progress.step % 20 == 0:
        print(progress, flush=True)


if __name__ == "__main__":
    main()

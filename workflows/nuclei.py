"""The demo: a real immunohistochemistry image through ingest, Dask, U-Net and stitching into a mask store.

    python workflows/nuclei.py [--image FILE] [--out FOLDER] [--model CHECKPOINT] [--workers N]
    unet-batch submit workflow workflows/nuclei.py ...      each step is a SLURM job

Without arguments it takes the image that comes with scikit-image and the network beside this file. Run it
again and it goes on where it ended.
"""

import argparse
import time
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

import unet_batch
from unet_batch.cli.stopping import on_signals
from unet_batch.engine.progress import Hooks, Progress
from unet_batch.errors import InputError, MissingError, UnetBatchError, UnfinishedError
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.status import Status
from unet_batch.store.image import Image
from unet_batch.tiling import Box

MODEL = Path(__file__).with_name("nuclei.safetensors")
STEPS = {"ingest": "run", "predict": "predict", "report": "run"}  # and which sbatch file runs them
COLOUR = np.array([0, 255, 90])
UNFINISHED = 75  # exit code: run again, or let the batch system do so
OVERLAY_EXTENT = 4096  # pixels per side; larger images are drawn from a coarser level


def main() -> None:
    """Read the command line and tell the story."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--image", type=Path, help="any image that `unet-batch ingest` reads")
    parser.add_argument("--out", type=Path, default=Path("out/nuclei"), help="one folder for each image")
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--workers", type=int, help="worker processes; 0: the plain loop without Dask")
    parser.add_argument("--scheduler", help="scheduler file of a running Dask cluster")
    parser.add_argument("--only", choices=STEPS, help="one step")
    chosen = parser.parse_args()
    try:
        found = segment(
            chosen.image or sample_image(),
            chosen.out,
            chosen.model,
            chosen.workers,
            chosen.scheduler,
            steps=[chosen.only] if chosen.only else STEPS,
        )
    except UnfinishedError as error:
        parser.exit(UNFINISHED, f"{error}\n")
    except UnetBatchError as error:
        parser.exit(2, f"{error}\n")
    if found is not None and found.blocks["pending"]:
        parser.exit(UNFINISHED)


def segment(
    source: Path,
    out: Path,
    model: Path = MODEL,
    workers: int | None = None,
    scheduler: str | None = None,
    steps: Collection[str] = tuple(STEPS),
) -> Status | None:
    """From the file ``source`` to masks, areas and an overlay in ``out``; the masks' status if predicted."""
    began = time.monotonic()
    image, masks, overlay = out / "image.zarr", out / "image.zarr/labels/nuclei", out / "overlay.png"
    if "ingest" in steps and not image.exists():
        out.mkdir(parents=True, exist_ok=True)
        done = unet_batch.ingest(source, image)
        print(f"ingested {source.name}: {done.shape} {done.axes} {done.dtype} in {done.seconds:.1f} s")
    found = None
    if "predict" in steps:
        config = PredictConfig(
            channels=_colours(image),
            block=256,  # small, so that even this image has seams to be free of
            workers="auto" if workers is None else workers,
            scheduler=scheduler,
        )
        with on_signals(print) as stop:
            found = unet_batch.predict(image, masks, model, config, hooks=Hooks(_tell, stop))
    if "report" in steps:
        draw_overlay(image, masks, overlay)
        report(unet_batch.status(masks))
        print(f"all in {time.monotonic() - began:.0f} s\n")
        suggest(image, masks, overlay, model)
    return found


def sample_image() -> Path:
    """The immunohistochemistry image inside scikit-image (colon, 512 x 512), found without importing it."""
    package = find_spec("skimage")
    if package is None or package.origin is None:
        raise MissingError(
            "scikit-image is not installed; run `pip install unet-batch[demo]` or give --image"
        )
    return Path(package.origin).parent / "data" / "ihc.png"


def draw_overlay(image: Path, masks: Path, path: Path) -> None:
    """Nuclei over the image: outlines in full colour, insides tinted."""
    pixels, labels = Image.open(image), Image.open(masks)
    level = next(k for k, found in enumerate(labels.levels) if max(found.shape) <= OVERLAY_EXTENT)
    box = Box.of_shape(labels.levels[level].shape)
    canvas = np.moveaxis(pixels.at_level(level).read(box, _colours(image)), 0, -1).astype(np.float32)
    inside = labels.at_level(level).read(box)[0] == 1
    canvas = np.where(inside[..., None], 0.75 * canvas + 0.25 * COLOUR, canvas)
    canvas[_outline(inside)] = COLOUR
    Picture.fromarray(canvas.astype(np.uint8)).save(path)


def report(status: Status) -> None:
    """Areas and rate."""
    total = sum(status.class_pixels.values())
    print(f"\n{'class':<12}{'pixels':>12}{'share':>10}")
    for name, pixels in status.class_pixels.items():
        print(f"{name:<12}{pixels:>12,}{pixels / total:>10.1%}")
    print(f"\n{status.blocks['done']} blocks, {status.pixels_per_second / 1e6:.3f} Mpx/s, {status.state}")


def suggest(image: Path, masks: Path, overlay: Path, model: Path) -> None:
    """What to look at next."""
    print(f"look at    {overlay}")
    print(f"           napari --plugin napari-ome-zarr {image}     (image and masks together)")
    print(f"ask        unet-batch status {masks}")
    print(f"check      unet-batch verify {masks} --untiled 4 --model {model}")


def _colours(image: Path) -> tuple[int, ...]:
    """Red, green and blue of a flat image; a grey one gives its channel three times."""
    opened = Image.open(image)
    if len(opened.shape) != 2:
        raise InputError(
            f"{image}: axes {opened.axes}, but the demo draws flat images; use `unet-batch predict`"
        )
    return (0, 1, 2) if opened.channels >= 3 else (0, 0, 0)


def _outline(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels just outside: neighbours, above, below and beside, of one inside."""
    padded = np.pad(inside, 1)
    near = padded[2:, 1:-1] | padded[:-2, 1:-1] | padded[1:-1, 2:] | padded[1:-1, :-2]
    return np.asarray(near & ~inside, np.bool_)


def _tell(_event: object, progress: Progress) -> None:
    print(progress.message or f"predicted {progress.blocks_done} of {progress.blocks_total} blocks")


if __name__ == "__main__":
    main()

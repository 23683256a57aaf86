"""The demo: a real immunohistochemistry image through ingest, Dask, U-Net and stitching, to single nuclei.

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
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image as Picture

import unet_batch
from unet_batch.cli.stopping import on_signals
from unet_batch.engine.progress import Hooks, Progress
from unet_batch.errors import InputError, MissingError, UnetBatchError, UnfinishedError
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.status import Status
from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.store.image import Image
from unet_batch.tiling import Box

MODEL = Path(__file__).with_name("nuclei.safetensors")
STEPS = {
    "ingest": "run",
    "predict": "predict",
    "objects": "run",
    "report": "run",
}  # and which sbatch file runs them
# Of outlines, so that neighbours differ; none is a colour of haematoxylin, eosin or DAB.
COLOURS = np.array([[0, 255, 90], [255, 255, 0], [0, 255, 255], [255, 120, 255], [180, 255, 0]], np.uint8)
UNFINISHED = 75  # exit code: run again, or let the batch system do so
OVERLAY_EXTENT = 4096  # pixels per side; larger images are drawn from a coarser level
ENLARGED_EXTENT = 1024  # smaller images are drawn several times as large, so that outlines hide little


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
    """From the file ``source`` to masks, nuclei and an overlay in ``out``; the masks' status if predicted."""
    began = time.monotonic()
    image, masks = out / "image.zarr", out / "image.zarr/labels/nuclei"
    nuclei, table, overlay = out / "image.zarr/labels/instances", out / "nuclei.parquet", out / "overlay.png"
    if "ingest" in steps and not image.exists():
        out.mkdir(parents=True, exist_ok=True)
        done = unet_batch.ingest(source, image)
        print(f"ingested {source.name}: {done.shape} {done.axes} {done.dtype} in {done.seconds:.1f} s")
    found = None
    if "predict" in steps:
        config = PredictConfig(
            channels=_colours(image),
            resample="auto" if Image.open(image).unit else "never",  # many a picture says no pixel size
            block=256,  # small, so that even this image has seams to be free of
            workers="auto" if workers is None else workers,
            scheduler=scheduler,
        )
        with on_signals(print) as stop:
            found = unet_batch.predict(image, masks, model, config, hooks=Hooks(_tell, stop))
    if found is not None and found.blocks["pending"]:
        return found
    if "objects" in steps:
        with on_signals(print) as stop:
            unet_batch.objects(
                masks, table, ObjectsConfig(workers=0), image=image, labels=nuclei, hooks=Hooks(stop=stop)
            )
    if "report" in steps:
        draw_overlay(image, nuclei, overlay)
        report(unet_batch.status(masks), table)
        print(f"all in {time.monotonic() - began:.0f} s\n")
        suggest(out, model)
    return found


def sample_image() -> Path:
    """The immunohistochemistry image inside scikit-image (colon, 512 x 512), found without importing it."""
    package = find_spec("skimage")
    if package is None or package.origin is None:
        raise MissingError(
            "scikit-image is not installed; run `pip install unet-batch[demo]` or give --image"
        )
    return Path(package.origin).parent / "data" / "ihc.png"


def draw_overlay(image: Path, nuclei: Path, path: Path) -> None:
    """The image with the outline of every nucleus, each its own."""
    pixels, labels = Image.open(image), Image.open(nuclei)
    level = next(k for k, found in enumerate(labels.levels) if max(found.shape) <= OVERLAY_EXTENT)
    box = Box.of_shape(labels.levels[level].shape)
    times = max(1, ENLARGED_EXTENT // max(box.shape))
    canvas = np.moveaxis(pixels.at_level(level).read(box, _colours(image)), 0, -1)
    numbers = np.kron(labels.at_level(level).read(box)[0], np.ones((times, times), np.uint32))
    enlarged = Picture.fromarray(canvas.astype(np.uint8)).resize(
        numbers.shape[::-1], Picture.Resampling.BICUBIC
    )
    drawn = np.array(enlarged)
    rim = _rim(numbers)
    drawn[rim] = COLOURS[numbers[rim] % len(COLOURS)]
    Picture.fromarray(drawn).save(path)


def report(status: Status, table: Path) -> None:
    """How many nuclei, how large, and how fast."""
    measured = pq.read_table(table, columns=["area"])
    unit = (measured.schema.field("area").metadata or {}).get(b"unit", b"pixels").decode()
    areas = measured["area"].to_numpy()
    median = f", median area {np.median(areas):,.4g} {unit}" if len(areas) else ""
    inside = sum(pixels for name, pixels in status.class_pixels.items() if name != "background")
    print(f"\n{len(areas):,} nuclei{median}, {inside / max(status.pixels, 1):.1%} of the picture")
    print(f"{status.blocks['done']} blocks, {status.pixels_per_second / 1e6:.3f} Mpx/s, {status.state}")


def suggest(out: Path, model: Path) -> None:
    """Where everything lies, and what to do next."""
    labels, table = out / "image.zarr/labels", out / "nuclei.parquet"
    print(f"look at    {out / 'overlay.png'}: the outline of every nucleus")
    print(f"           {table}: a row for each, with its area, place and mean colours")
    print(f"           {labels}/instances: its number at every pixel; {labels}/nuclei: the classes")
    print(f"open       unet-batch view {out / 'image.zarr'}")
    print(f"polygons   unet-batch export {labels}/instances {out / 'nuclei.geojson'} --set table={table}")
    print(f"ask        unet-batch status {labels}/nuclei")
    print(f"check      unet-batch verify {labels}/nuclei --untiled 4 --model {model}")


def _colours(image: Path) -> tuple[int, ...]:
    """Red, green and blue of a flat image; a grey one gives its channel three times."""
    opened = Image.open(image)
    if len(opened.shape) != 2:
        raise InputError(
            f"{image}: axes {opened.axes}, but the demo draws flat images; use `unet-batch predict`"
        )
    return (0, 1, 2) if opened.channels >= 3 else (0, 0, 0)


def _rim(numbers: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Pixels of a nucleus beside one of another, or of none."""
    padded = np.pad(numbers, 1, mode="edge")
    inner = padded[1:-1, 1:-1]
    unlike = [padded[2:, 1:-1] != inner, padded[:-2, 1:-1] != inner]
    unlike += [padded[1:-1, 2:] != inner, padded[1:-1, :-2] != inner]
    return np.asarray(np.logical_or.reduce(unlike) & (inner > 0), np.bool_)


def _tell(_event: object, progress: Progress) -> None:
    print(progress.message or f"predicted {progress.blocks_done} of {progress.blocks_total} blocks")


if __name__ == "__main__":
    main()

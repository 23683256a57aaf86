"""Objects of a large mask: seconds and peak memory, with numbers for every pixel, beside scipy on a part.

    python benchmarks/objects.py [--side 30000] [--workers 2] [--instances]

The mask is made of small blobs, some 1100 objects per million pixels, so 30,000 x 30,000 holds about 10^6.
With --instances it is that of a border-class network: interiors grow into the borders around them.
Each step runs in a process of its own, whose peak the kernel counted (VmHWM); workers are polled. Prints
JSON.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from end_to_end import say
from machine import facts
from peaks import Peaks, peak_of
from scipy import ndimage

from unet_batch.products.objects.config import ObjectsConfig
from unet_batch.products.objects.run import objects
from unet_batch.store.masks import Masks
from unet_batch.store.masks_layout import LABELS, MasksLayout
from unet_batch.tiling import Box

BLOCK = 2048
CLASSES = {"background": 0.72, "cell": 0.97, "debris": 1.0}  # each up to which quantile of smooth noise
INSTANCES = {"background": 0.72, "border": 0.85, "cell": 1.0}


def blobs(side: int, classes: dict[str, float]) -> np.ndarray:
    """Blobs some 15 pixels wide, one class inside the other; it wraps around, so that copies fit together."""
    noise = np.random.default_rng(0).standard_normal((side, side)).astype(np.float32)
    field = ndimage.gaussian_filter(noise, 4.8, mode="wrap")
    return np.digitize(field, np.quantile(field, list(classes.values())[:-1])).astype(np.uint8)


def write_masks(path: Path, side: int, classes: dict[str, float]) -> Path:
    """A store of ``side`` x ``side`` pixels: one tile again and again, its blobs whole across the seams."""
    tile = blobs(BLOCK, classes)
    layout = MasksLayout("multiclass", "yx", (side, side), (BLOCK, BLOCK), (512, 512), 2, tuple(classes))
    masks = Masks.create(path, layout, {})
    for block in layout.blocks:
        y, x = (size % BLOCK for size in block.box.shape)
        pixels = tile[: y or BLOCK, : x or BLOCK][None].copy()
        masks.write_block(block.box, {LABELS: masks.layers[LABELS].halved(pixels, layout.halve(LABELS))})
    masks.finish()
    return path


def run(folder: Path, masks: Path, workers: int, numbers: bool) -> dict[str, Any]:
    """Find the objects in this process and its workers."""
    peaks = Peaks()
    peaks.start()
    began = time.perf_counter()
    name = "with" if numbers else "without"
    labels = folder / f"{name}.zarr" if numbers else None
    done = objects(masks, folder / f"{name}.parquet", ObjectsConfig(workers=workers), labels=labels)
    seconds = time.perf_counter() - began
    peaks.ended.set()
    side = Masks.open(masks).layout.shape[0]
    return {
        "objects": sum(done.objects.values()),
        "seconds": round(seconds, 1),
        "pixels_per_second": round(side * side / seconds),
        "driver_mib": round(peak_of(psutil.Process().pid) / 2**20, 1),
        "worker_mib": round(peaks.worker / 2**20, 1),
        "table_mib": round(Path(done.table).stat().st_size / 2**20, 1),
    }


def scipy_rate(masks: Path) -> float:
    """Pixels per second of scipy.ndimage.label on one block in memory: the labelling alone, no table."""
    pixels = Masks.open(masks).read(Box((0, 0), (BLOCK, BLOCK)))[0]
    began = time.perf_counter()
    for value in (1, 2):
        ndimage.label(pixels == value)
    return round(pixels.size / (time.perf_counter() - began))


def measure(side: int, workers: int, classes: dict[str, float]) -> dict[str, Any]:
    """The table alone, and with the number of every pixel."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        masks = write_masks(folder / "masks.zarr", side, classes)
        say(f"wrote {side} x {side}")
        found: dict[str, Any] = {"scipy_label_pixels_per_second": scipy_rate(masks)}
        for numbers in (False, True):
            child = [
                sys.executable,
                __file__,
                "--child",
                str(folder),
                str(int(numbers)),
                "--workers",
                str(workers),
            ]
            output = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout
            found["table_and_numbers" if numbers else "table"] = json.loads(output)
            say(output.strip())
        return found


def main() -> None:
    """Measure and print; as a child, one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=30000, help="pixels per side")
    parser.add_argument("--workers", type=int, default=2, help="worker processes; 0: none")
    parser.add_argument("--instances", action="store_true", help="a class named border")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        folder = Path(chosen.child[0])
        print(json.dumps(run(folder, folder / "masks.zarr", chosen.workers, chosen.child[1] == "1")))
        return
    what, classes = ("instances", INSTANCES) if chosen.instances else ("objects", CLASSES)
    report = {"benchmark": what, **facts(), "side": chosen.side, "workers": chosen.workers}
    print(json.dumps({**report, **measure(chosen.side, chosen.workers, classes)}, indent=2))


if __name__ == "__main__":
    main()

"""Ten thousand scenes by an index: time and memory of survey and mosaic, against a tenth of them.

    python benchmarks/scenes.py [--scenes 1000 10000] [--folder FOLDER]

Scenes of 64 x 64 px overlap their neighbours by half, so that every pixel is seen four times; the median
decides. Each size runs in a process of its own, with one worker. Prints JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import rasterio
from machine import facts
from peaks import Peaks, peak_of
from rasterio.transform import Affine

from unet_batch.ingestion.mosaic.config import MosaicConfig
from unet_batch.ingestion.mosaic.listing import list_scenes
from unet_batch.ingestion.mosaic.planning import make_plan
from unet_batch.ingestion.mosaic.run import ingest_mosaic

SIDE, STEP = 64, 32
SETTINGS = {"rule": "median", "block": 512, "chunk": 256, "workers": 1}


def write_scenes(folder: Path, count: int) -> Path:
    """A square of ``count`` scenes or a few less, and the CSV that lists them."""
    across, rng = int(count**0.5), np.random.default_rng(0)
    profile = {"driver": "GTiff", "width": SIDE, "height": SIDE, "count": 1, "dtype": "uint8", "nodata": 0,
               "crs": "EPSG:32633"}  # fmt: skip
    names = []
    for number in range(across**2):
        row, column = divmod(number, across)
        place = Affine(10, 0, 500_000 + 10 * STEP * column, 0, -10, 5_000_000 - 10 * STEP * row)
        names.append(f"{number}.tif")
        with rasterio.open(folder / names[-1], "w", **profile, transform=place) as file:
            file.write(rng.integers(1, 255, (SIDE, SIDE), dtype=np.uint8), 1)
    index = folder / "scenes.csv"
    index.write_text("path\n" + "\n".join(names) + "\n")
    return index


def mosaic_here(index: Path) -> dict[str, Any]:
    """Survey, then the whole mosaic, in this process."""
    config, peaks = MosaicConfig.model_validate(SETTINGS), Peaks()
    began = time.perf_counter()
    plan = make_plan(list_scenes([], index), config).plan
    surveyed = time.perf_counter() - began
    peaks.start()
    began = time.perf_counter()
    found = ingest_mosaic([], index.with_name("mosaic.zarr"), config, index=index)
    peaks.ended.set()
    return {
        "scenes": len(plan.scenes),
        "survey_seconds": round(surveyed, 1),
        "seconds": round(time.perf_counter() - began, 1),
        "driver_mib": round(peak_of(os.getpid()) / 2**20, 1),
        "worker_mib": round(peaks.worker / 2**20, 1),
        "blocks": found.blocks,
    }


def measure(count: int, where: Path | None) -> dict[str, Any]:
    """One size, in a new process."""
    with TemporaryDirectory(dir=where) as folder:
        index = write_scenes(Path(folder), count)
        command = [sys.executable, __file__, "--child", str(index)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    found: dict[str, Any] = json.loads(output)
    print(found, file=sys.stderr, flush=True)
    return found


def main() -> None:
    """Measure all sizes and print them; as a child, one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scenes", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--folder", type=Path, help="where to write; default: a temporary folder")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(mosaic_here(chosen.child)))
        return
    report = {"benchmark": "scenes", **facts()}
    report["mosaics"] = [measure(count, chosen.folder) for count in chosen.scenes]
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

"""What `durability: fsync` costs: predictions and ingests with and without it, in turn.

    python benchmarks/durability.py [--side 4096] [--rounds 5]

`synced_share` is the time that syncing took of a run's own; `ratio` the median over rounds of the time with
it by the time without. Prints JSON.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import tifffile
from inputs import DEMO, tissue, write_image, write_network
from machine import facts

from unet_batch import unsynced
from unet_batch.ingestion.config import IngestConfig
from unet_batch.ingestion.run import ingest
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict

Run = Callable[[str, Path], object]


def measure(side: int, rounds: int) -> dict[str, Any]:
    """Each verb, with and without, in turn."""
    with TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        found = {}
        for what, run in cases(folder, side).items():
            taken = [turn(run, folder / f"{what}-{n}") for n in range(rounds)]
            found[what] = {
                "seconds": [{key: round(value, 2) for key, value in one.items()} for one in taken],
                "ratio": round(statistics.median(one["fsync"] / one["none"] for one in taken), 3),
                "synced_share": round(statistics.median(one["syncing"] / one["fsync"] for one in taken), 4),
            }
            print(f"{what}: {found[what]}", file=sys.stderr, flush=True)
        return found


def turn(run: Run, out: Path) -> dict[str, float]:
    """One run each way."""
    seconds = {}
    for durability in ("none", "fsync"):
        with Syncing() as syncing:
            began = time.perf_counter()
            run(durability, out.with_name(f"{out.name}-{durability}"))
            seconds[durability] = time.perf_counter() - began
    return {**seconds, "syncing": syncing.seconds}


class Syncing:
    """Seconds that this process spends in ``unsynced.sync`` meanwhile."""

    seconds = 0.0

    def __enter__(self) -> "Syncing":
        self.was, own = unsynced.sync, self

        def timed() -> None:
            began = time.perf_counter()
            own.was()
            own.seconds += time.perf_counter() - began

        unsynced.sync = timed
        return self

    def __exit__(self, *_: object) -> None:
        unsynced.sync = self.was


def cases(folder: Path, side: int) -> dict[str, Run]:
    """Predictions by a light network in small and in usual blocks, and an ingest of what compresses badly."""
    image, network = folder / "image.zarr", folder / "net.safetensors"
    write_image(image, tissue(side))
    write_network(network, {**DEMO, "width": 8})
    raster = folder / "raster.tif"
    pixels = np.random.default_rng(0).integers(0, 2**12, (side, side), np.uint16)
    tifffile.imwrite(raster, pixels, tile=(512, 512))

    def predicted(block: int) -> Run:
        return lambda durability, out: predict(
            image, out, network, PredictConfig(workers=0, block=block, tile=512, durability=durability)
        )

    return {
        "predict, blocks of 256": predicted(256),
        "predict, blocks of 1024": predicted(1024),
        "ingest, noise of 12 bits": lambda durability, out: ingest(
            raster, out, IngestConfig(block=1024, durability=durability)
        ),
    }


def main() -> None:
    """Print the result with the machine's facts."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    about = facts()
    print(json.dumps({**about, **vars(given), "results": measure(given.side, given.rounds)}, indent=1))


if __name__ == "__main__":
    main()

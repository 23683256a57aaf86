"""Peak memory of driver and worker for a small and a huge image: it must not grow with the image.

    python benchmarks/memory.py [--sides 4096 65536]

Each image is a sparse store with a band of real tissue one block high and as wide as the small image; the
rest was never written and is skipped as no data, block by block. So both sizes compute the same pixels, and
the huge one walks 256 times the blocks. Each runs in a process of its own. Linux only: peaks are the
kernel's own (VmHWM). Prints JSON.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
from end_to_end import say
from inputs import BLOCK, DEMO, tissue, write_image, write_network
from machine import facts
from peaks import Peaks, peak_of
from rates import timed

from unet_batch.prediction.config import PredictConfig


def predict_here(folder: Path, image: Path) -> dict[str, Any]:
    """Predict ``image`` and tell the peaks of this process, the driver, and of its worker."""
    config = PredictConfig(block=BLOCK, tile=1024, nodata=0, compression="zstd")
    peaks = Peaks()
    peaks.start()
    run = timed(image, folder / "masks.zarr", folder / "network.safetensors", config)
    peaks.ended.set()
    return {
        "driver_mib": round(peak_of(psutil.Process().pid) / 2**20, 1),
        "worker_mib": round(peaks.worker / 2**20, 1),
        "blocks": len(run.arrivals),
        "pixels_computed": run.pixels,
        "seconds": round(run.seconds, 1),
    }


def measure(sides: list[int]) -> dict[str, Any]:
    """All sizes, each in a new process."""
    found: dict[str, Any] = {}
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_network(folder / "network.safetensors", DEMO)
        # No pixel of the band may pass for no data.
        band = tissue(min(sides))[:, :BLOCK].clip(1)
        for side in sides:
            image = write_image(folder / f"{side}.zarr", band, side)
            command = [sys.executable, __file__, "--child", str(folder), str(image)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            found[str(side)] = json.loads(output)
            say(f"{side}: {output.strip()}")
    return found


def main() -> None:
    """Measure all sizes and print them; as a child, one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sides", type=int, nargs=2, default=[4096, 65536], help="pixels per side")
    parser.add_argument("--child", type=Path, nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(predict_here(*chosen.child)))
        return
    report = {"benchmark": "memory", **facts(), "sides": measure(chosen.sides)}
    small, large = report["sides"].values()
    report["growth"] = {
        who: round(large[f"{who}_mib"] / small[f"{who}_mib"] - 1, 3) for who in ("driver", "worker")
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

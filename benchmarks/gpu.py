"""From Zarr store to mask store on CUDA devices: share of the network's speed, memory, bytes back.

    python benchmarks/gpu.py [--side 16384] [--rounds 5]

The same measurement as end_to_end.py on a larger image, with the peak of the device's memory, and the bytes
that leave the device for each pixel. Prints JSON; exit code 2 where there is no CUDA device.
"""

import argparse
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from end_to_end import Case, cases, measure
from inputs import tissue, write_image
from machine import facts
from rates import timed
from torch import Tensor

POLL_SECONDS = 0.05
COUNTED_SIDE = 4096


class DeviceMemory(threading.Thread):
    """Most memory in use on the first device by all processes, beyond what was in use at the start."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self.ended = 0, threading.Event()
        self.before = self._used()

    def run(self) -> None:
        while not self.ended.wait(POLL_SECONDS):
            self.peak = max(self.peak, self._used() - self.before)

    def _used(self) -> int:
        free, total = torch.cuda.mem_get_info(0)
        return total - free


@contextmanager
def device_memory() -> Iterator[DeviceMemory]:
    """Watches for the length of a block."""
    found = DeviceMemory()
    found.start()
    try:
        yield found
    finally:
        found.ended.set()
        found.join()


def bytes_back(case: Case, image: Path, folder: Path) -> float:
    """Bytes that leave the device for each pixel computed, counted where tensors do, in the serial loop."""
    moved = 0
    original = Tensor.cpu

    def counted(tensor: Tensor, *arguments: Any, **keys: Any) -> Tensor:
        nonlocal moved
        moved += tensor.nbytes if tensor.is_cuda else 0
        return original(tensor, *arguments, **keys)

    side = min(COUNTED_SIDE, case.side)
    config = case.config("cuda").model_copy(update={"workers": 0, "roi": ((0, side),) * 2})
    with patch.object(Tensor, "cpu", counted):
        run = timed(image, folder / "counted.zarr", folder / "network.safetensors", config)
    return moved / run.pixels


def main() -> None:
    """Measure all cases and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--side", type=int, default=16384, help="pixels per side of the image")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        print("error: torch sees no CUDA device; run this on a machine with one", file=sys.stderr)
        raise SystemExit(2)
    devices = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    report: dict[str, Any] = {
        "benchmark": "gpu",
        "side": chosen.side,
        **facts(),
        "devices": devices,
        "cases": {},
    }
    with TemporaryDirectory() as name:
        folder = Path(name)
        image = write_image(folder / "image.zarr", tissue(chosen.side))
        for case in cases(chosen.side, chosen.rounds):
            # One device, so that rates compare with the one that runs the network alone.
            with device_memory() as memory:
                found = measure(case, image, folder, "cuda:0")
            found["peak_device_mib"] = round(memory.peak / 2**20)
            found["bytes_back_per_pixel"] = round(bytes_back(case, image, folder), 3)
            report["cases"][case.name] = found
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

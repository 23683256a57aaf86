"""How a run holds up when there are many blocks: 10^4, 10^5, 10^6; and 10^7 by the plan and the ledger alone.

    python benchmarks/blocks.py [--blocks 10000 100000 1000000] [--planned 10000000]

A sparse image of blocks of 64 px, one in a thousand with data, through an identity network, worker, scheduler
and ledger; every block passes through all of them, as the image has no pyramid that would tell the driver
which are empty. Each size runs in a process of its own, in which Dask's scheduler lives too. Prints JSON.
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
from machine import facts
from peaks import peak_of

from unet_batch.engine.progress import Hooks, Progress
from unet_batch.prediction.autotuner import assume
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.planning import make_plan
from unet_batch.prediction.request import Request
from unet_batch.prediction.run import predict
from unet_batch.schedule.events import Event
from unet_batch.store.arrays import create_array
from unet_batch.store.journal import Status
from unet_batch.store.layout import ArrayLayout
from unet_batch.store.ledger import Ledger
from unet_batch.tiling import BlockGrid, Box

BLOCK = 64
ONE_IN = 1000
SETTINGS = {"block": BLOCK, "tile": BLOCK, "nodata": 0, "levels": 1, "device": "cpu", "workers": 1,
            "precision": "fp32", "backend": "eager", "chunk": BLOCK, "threads": 2}  # fmt: skip


def mib() -> float:
    """Of this process's memory, now."""
    return round(psutil.Process().memory_info().rss / 2**20, 1)


def write_sparse(path: Path, side: int) -> Path:
    """``side`` x ``side`` blocks, one in a thousand with data."""
    shape, chunk = (BLOCK * side,) * 2, (BLOCK,) * 2
    array = create_array(path, ArrayLayout(shape, "uint8", chunk, chunk, names=("y", "x")))
    rng = np.random.default_rng(0)
    for number in rng.choice(side**2, max(1, side**2 // ONE_IN), replace=False):
        start = tuple(int(i) * BLOCK for i in divmod(int(number), side))
        box = Box(start, tuple(a + BLOCK for a in start))
        array.write_shard(box, rng.integers(1, 3, box.shape).astype(np.uint8))
    return path


def predict_here(folder: Path, blocks: int) -> dict[str, Any]:
    """Plan and predict in this process, telling time and memory."""
    image = write_sparse(folder / "image.zarr", round(blocks**0.5))
    model = folder / "network.pt"
    config = PredictConfig.model_validate(SETTINGS)
    before, began = mib(), time.perf_counter()
    request = Request.open(str(image), [str(model)], config)
    plan = make_plan(request, assume(request))
    numbers = plan.blocks.z_order(plan.blocks.numbers_in(plan.region))
    planned = {"plan_seconds": round(time.perf_counter() - began, 2), "plan_mib": round(mib() - before, 1)}
    memory: list[float] = []

    def observe(event: Event | None, progress: Progress) -> None:
        if event is not None and progress.blocks_done % (len(numbers) // 10) == 0:
            memory.append(mib())

    began = time.perf_counter()
    found = predict(image, folder / "masks.zarr", model, config, hooks=Hooks(observe))
    seconds = time.perf_counter() - began
    return {
        **planned,
        "run_seconds": round(seconds, 1),
        "blocks_per_second": round(len(numbers) / seconds),
        "driver_mib_by_tenths": memory,
        "driver_peak_mib": peak(),
        "done": found.blocks["done"],
        "skipped": found.blocks["skipped"],
        "failed": found.blocks["failed"],
    }


def plan_here(folder: Path, blocks: int) -> dict[str, Any]:
    """The grid in Z-order, and a ledger that is filled at once, closed and opened again."""
    side = round(blocks**0.5)
    before, began = mib(), time.perf_counter()
    grid = BlockGrid((BLOCK * side,) * 2, (BLOCK,) * 2)
    numbers = grid.z_order(grid.numbers_in(Box.of_shape(grid.shape)))
    planned, memory = time.perf_counter() - began, mib() - before
    began = time.perf_counter()
    with Ledger.create(folder, grid.counts, 3) as ledger:
        ledger.record_all(np.arange(len(numbers)).reshape(grid.counts) % ONE_IN > 0, Status.SKIPPED)
    created = time.perf_counter() - began
    began = time.perf_counter()
    pending = len(Ledger.open(folder).pending())
    return {
        "plan_seconds": round(planned, 2),
        "plan_mib": round(memory, 1),
        "ledger_write_seconds": round(created, 2),
        "ledger_open_seconds": round(time.perf_counter() - began, 2),
        "pending": pending,
        "peak_mib": peak(),
    }


def peak() -> float:
    """The most memory that this process ever held, in MiB."""
    return round(peak_of(psutil.Process().pid) / 2**20, 1)


def measure(kind: str, blocks: int) -> dict[str, Any]:
    """One size, in a new process, which never imports torch: its workers do."""
    from identity import CASES, write_program  # noqa: PLC0415 - imports torch

    with TemporaryDirectory() as folder:
        write_program(Path(folder) / "network.pt", *CASES["labels: uint8 to uint8"])
        command = [sys.executable, __file__, "--child", kind, str(blocks), folder]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    print(f"{kind} {blocks}: {output.strip()}", file=sys.stderr, flush=True)
    found: dict[str, Any] = json.loads(output)
    return found


def main() -> None:
    """Measure all sizes and print them; as a child, one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="*", default=[10**4, 10**5, 10**6], help="to run")
    parser.add_argument("--planned", type=int, nargs="*", default=[10**7], help="by plan and ledger alone")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        kind, blocks, folder = chosen.child
        work = predict_here if kind == "run" else plan_here
        print(json.dumps(work(Path(folder), int(blocks))))
        return
    report: dict[str, Any] = {"benchmark": "blocks", **facts()}
    report["run"] = {str(n): measure("run", n) for n in chosen.blocks}
    report["planned"] = {str(n): measure("plan", n) for n in chosen.planned}
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

"""A terabyte from start to end, killed in the middle and resumed: time, memory, bytes.

    python benchmarks/terabyte.py [--gigabytes 1000] [--data 0.005] [--folder FOLDER]

The image has four channels of uint16 and its pyramid, as satellite mosaics do. Real texture fills one block;
the files of that block's shards are hard links wherever else there is data (one block in 200, at random), the
rest was never written. So the source is whole for every reader and costs no disk. A small network classifies
it in blocks of 1024 px; once half of the blocks are done its driver and workers are killed (SIGKILL), and a
second run goes on.

Blocks with no neighbour see the same pixels, so they must have one checksum: this is checked, and so is that
no block was done twice. What a terabyte without gaps would take is computed from the rate measured here, for
this machine's worker and for 1, 8 and 64 of them at once; for GPUs from --gpu-rate, where one was measured.
Prints JSON.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from machine import facts
from numpy.typing import NDArray
from peaks import Peaks, peak_of

from unet_batch.engine import history
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.run import predict
from unet_batch.store.image import Image
from unet_batch.store.image_writer import ImageLayout
from unet_batch.store.journal import Journal, Status
from unet_batch.store.layout import PyramidLayout
from unet_batch.store.ledger import Ledger
from unet_batch.tiling import Box

BLOCK, CHUNK = 1024, 512
CHANNELS, DTYPE = 4, np.dtype("uint16")
SMALL = {
    "in_channels": CHANNELS,
    "classes": ["water", "field", "forest", "town"],
    "width": 8,
    "depth": 3,
    "normalisation": {"mean": [2000.0] * CHANNELS, "std": [1000.0] * CHANNELS},
}
SETTINGS = {"block": BLOCK, "tile": BLOCK, "device": "cpu", "workers": 1}
POLL_SECONDS = 1.0
MANY = (1, 8, 64)


def say(text: str) -> None:
    """To the person who waits."""
    print(text, file=sys.stderr, flush=True)


def texture() -> NDArray[np.uint16]:
    """One block of (C, y, x): the benchmarks' tissue, spread over 12 bits, and the mean of its channels."""
    from inputs import tissue  # noqa: PLC0415 - imports torch, which drivers do without

    pixels = tissue(BLOCK).astype(DTYPE) * 16 + 1
    return np.concatenate([pixels, pixels.mean(axis=0, keepdims=True).astype(DTYPE)])


def write_source(path: Path, side: int, share: float) -> NDArray[np.bool_]:
    """An image of ``side`` x ``side`` blocks, and which of them have data."""
    has = np.zeros((side, side), np.bool_)
    count = max(2, round(share * side**2))
    has.reshape(-1)[np.random.default_rng(0).choice(side**2, count, replace=False)] = True
    layout = PyramidLayout("cyx", (side * BLOCK,) * 2, CHANNELS, DTYPE.name, (BLOCK,) * 2, (CHUNK,) * 2, 2)
    writer = Image.create(path, ImageLayout(layout, nodata=0))
    first, *others = [tuple(int(i) for i in index) for index in np.argwhere(has)]
    start = tuple(i * BLOCK for i in first)
    writer.write_block(Box(start, tuple(a + BLOCK for a in start)), texture())
    for level in range(layout.one_pass_levels):
        for row, column in others:
            target = path / f"{level}/c/0/{row}/{column}"
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(path / f"{level}/c/0/{first[0]}/{first[1]}", target)
    writer.finish()
    return has


def run_here(folder: Path) -> dict[str, Any]:
    """Predict in this process, telling time and memory."""
    peaks = Peaks()
    peaks.start()
    began = time.perf_counter()
    found = predict(
        folder / "image.zarr",
        folder / "masks.zarr",
        folder / "network.safetensors",
        PredictConfig.model_validate(SETTINGS),
    )
    peaks.ended.set()
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "driver_mib": round(peak_of(os.getpid()) / 2**20, 1),
        "worker_mib": round(peaks.worker / 2**20, 1),
        "blocks": found.blocks,
    }


def start(folder: Path) -> subprocess.Popen[str]:
    """The run in a process group of its own, with its workers in it."""
    command = [sys.executable, __file__, "--child", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def kill_half_way(folder: Path, blocks: int) -> dict[str, Any]:
    """Start, kill once half of ``blocks`` are recorded, and tell how many were."""
    began, run = time.perf_counter(), start(folder)
    while run.poll() is None and recorded(folder) < blocks / 2:
        time.sleep(POLL_SECONDS)
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    done = recorded(folder)
    say(f"killed after {done} of {blocks} blocks")
    return {"seconds": round(time.perf_counter() - began, 1), "blocks_done": done}


def recorded(folder: Path) -> int:
    """Blocks that are done, also those that only the journal knows."""
    store = folder / "masks.zarr"
    if not (store / "ledger" / "zarr.json").exists():
        return 0
    return Ledger.open(store).totals().blocks[Status.DONE]


def check(folder: Path, has: NDArray[np.bool_]) -> dict[str, Any]:
    """What is wrong with the result: nothing, or this raises."""
    ledger = Ledger.open(folder / "masks.zarr")
    done = ledger.statuses == Status.DONE
    assert np.array_equal(done, has), "the blocks done are not the blocks with data"
    padded = np.pad(has, 1)
    neighbours = sum(np.roll(padded, (y, x), (0, 1)) for y in (-1, 0, 1) for x in (-1, 0, 1))[1:-1, 1:-1]
    alone = [tuple(int(i) for i in index) for index in np.argwhere(has & (neighbours == 1))]
    # Where tiles begin within a block repeats from block to block, so equal pixels give equal labels.
    inside = [index for index in alone if all(0 < i < n - 1 for i, n in zip(index, has.shape, strict=True))]
    checksums = {ledger.entry(index).checksum for index in inside}
    assert len(checksums) <= 1, f"{len(inside)} equal blocks have {len(checksums)} checksums"
    return {"blocks_equal": len(inside), "failed": ledger.totals().blocks[Status.FAILED]}


def measure(folder: Path, gigabytes: float, share: float) -> dict[str, Any]:
    """The whole story."""
    from inputs import write_network  # noqa: PLC0415 - imports torch, which drivers do without

    bytes_per_pixel = CHANNELS * DTYPE.itemsize
    side = max(4, ceil((gigabytes * 1e9 / bytes_per_pixel) ** 0.5 / BLOCK))
    began = time.perf_counter()
    has = write_source(folder / "image.zarr", side, share)
    write_network(folder / "network.safetensors", SMALL)
    image = {
        "bytes": (side * BLOCK) ** 2 * bytes_per_pixel,
        "pixels": (side * BLOCK) ** 2,
        "blocks": side**2,
        "blocks_with_data": int(has.sum()),
        "seconds": round(time.perf_counter() - began, 1),
    }
    say(f"image: {image}")
    killed = kill_half_way(folder, int(has.sum()))
    resumed = start(folder)
    output, _ = resumed.communicate()
    assert resumed.returncode == 0, "the second run failed"
    last = json.loads(output)
    say(f"resumed: {last}")
    record = history.read(str(folder / "masks.zarr"))[-1]
    redone = record.blocks.get("done", 0) + killed["blocks_done"] - image["blocks_with_data"]
    assert redone == 0, f"{redone} blocks were done twice"
    return {
        "image": image,
        "killed": killed,
        "resumed": last,
        "seconds": round(killed["seconds"] + last["seconds"], 1),
        "pixels_per_second": round(record.pixels_per_second),
        "stage_seconds_resumed": {stage: round(taken, 1) for stage, taken in record.stages.items()},
        "decoded_bytes_resumed": record.decoded_bytes,
        "written_bytes": sum(f.stat().st_size for f in (folder / "masks.zarr").rglob("*") if f.is_file()),
        "journal_left": sum(1 for _ in Journal(folder / "masks.zarr" / "ledger" / "journal.jsonl").entries()),
        **check(folder, has),
    }


def computed(rate: float, gpu_rate: float | None) -> dict[str, Any]:
    """Hours for 10^12 bytes without gaps, at rates in pixels per second; nothing here was run."""
    pixels = 1e12 / (CHANNELS * DTYPE.itemsize)
    hours = {f"{count} workers such as this one": round(pixels / (rate * count) / 3600, 2) for count in MANY}
    if gpu_rate:
        hours |= {f"{count} GPUs": round(pixels / (gpu_rate * count) / 3600, 2) for count in MANY}
    note = "computed from measured rates, not run; many workers are taken to be as fast as one each"
    return {"note": note, "pixels_per_second": rate, "gpu_pixels_per_second": gpu_rate, "hours": hours}


def main() -> None:
    """Measure and print; as a child, one run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1000.0, help="of the image, 10^9 bytes")
    parser.add_argument("--data", type=float, default=0.005, help="share of blocks with data")
    parser.add_argument("--gpu-rate", type=float, help="measured pixels per second of one GPU")
    parser.add_argument("--folder", type=Path, help="where to write; default: a temporary folder")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(run_here(chosen.child)))
        return
    with TemporaryDirectory(dir=chosen.folder) as folder:
        found = measure(Path(folder), chosen.gigabytes, chosen.data)
    report = {"benchmark": "terabyte", **facts(), **found}
    report["a_terabyte_of_data"] = computed(found["pixels_per_second"], chosen.gpu_rate)
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()

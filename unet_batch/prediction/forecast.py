"""Forecast: the hours that a plan takes on so many devices, and what bounds it, from rates measured here.

    for scenario in forecast("slide.zarr", "net.safetensors", out="masks.zarr"):
        print(scenario.devices, scenario.hours, scenario.bound)

Imports no torch.
"""

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unet_batch.calls import checked
from unet_batch.prediction.autotuner import Autotuner
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.estimate import Estimate
from unet_batch.prediction.output import layout_of
from unet_batch.prediction.plan import Choice, Plan
from unet_batch.prediction.planning import make_plan
from unet_batch.prediction.request import Request
from unet_batch.prediction.resources import threads, worker_count
from unet_batch.store.layer import Layer
from unet_batch.store.layout import PyramidLayout
from unet_batch.store.masks_layout import LABELS
from unet_batch.store.pixel_array import PixelArray

DEVICES = (1, 8, 64)
DISK_BYTES = 2**25  # read and written to measure the disk


@dataclass(frozen=True, slots=True)
class Rates:
    """What was measured on one block.

    Attributes:
        device: pixels of output per second of one device's networks.
        decode: seconds of one core to read and decode the pixels of one pixel of output, margins included.
        encode: seconds of one core to encode all that is written of one pixel of output.
        read_bytes: stored bytes that one pixel of output needs of the image.
        written_bytes: stored bytes that are written of it.
        disk_reads: bytes per second that one process reads of the image's files, not from the page cache.
        disk_writes: bytes per second that one process writes beside the output, until they are on the disk.
    """

    device: float
    decode: float
    encode: float
    read_bytes: float
    written_bytes: float
    disk_reads: float
    disk_writes: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """A run on so many devices.

    Attributes:
        devices: a worker each, with as many cores as workers of this machine have.
        hours: of blocks; start-up is some seconds more.
        bound: what takes longest: ``device``, ``decode``, ``encode`` or ``disk``.
        stages: hours that each of them would take alone. The disk is one for all devices.
    """

    devices: int
    hours: float
    bound: str
    stages: dict[str, float]

    @classmethod
    def of(cls, rates: Rates, pixels: int, devices: int, cores: int, *, on_gpus: bool) -> "Scenario":
        """``pixels`` of output on ``devices`` with ``cores`` each, which a CPU's network needs as well."""
        stages = {
            "device": pixels / rates.device / devices / 3600,
            "decode": pixels * rates.decode / (devices * cores) / 3600,
            "encode": pixels * rates.encode / (devices * cores) / 3600,
            "disk": pixels
            * (rates.read_bytes / rates.disk_reads + rates.written_bytes / rates.disk_writes)
            / 3600,
        }
        shared = ("decode", "encode") if on_gpus else ("device", "decode", "encode")
        together = {
            max(shared, key=lambda name: stages[name]): sum(stages[name] for name in shared),
            "disk": stages["disk"],
        }
        if on_gpus:
            together["device"] = stages["device"]
        bound = max(together, key=lambda name: together[name])
        return cls(devices, together[bound], bound, stages)


@checked
def forecast(
    image: str | Path,
    model: str | Path | Sequence[str | Path],
    config: PredictConfig | None = None,
    *,
    out: str | Path,
    axes: str | None = None,
) -> list[Scenario]:
    """What `predict` with the same arguments would take on this machine's devices, on 1, 8 and 64.

    Runs the networks for some seconds in a process of their own, reads a block of the image and writes one
    beside ``out``, which it removes.

    Raises:
        UnetBatchError: input that cannot be used.
    """
    models = [str(m) for m in ([model] if isinstance(model, str | Path) else model)]
    settings = config or PredictConfig()
    request = Request.open(str(image), models, settings, axes)
    choice = tried(Autotuner(str(image), tuple(models), settings, axes, threads(settings), measure=True))
    plan = make_plan(request, choice)
    return scenarios(request, plan, Estimate.of(plan, settings, choice), choice, Path(out))


def scenarios(request: Request, plan: Plan, estimate: Estimate, choice: Choice, out: Path) -> list[Scenario]:
    """On this machine's devices, on 1, 8 and 64, from rates that are measured now; ``choice`` has one."""
    own, cores = max(1, worker_count(request.config)), threads(request.config)
    assert estimate.rate is not None, "the choice was measured"
    rates = measured(request, plan, estimate, estimate.rate / own, out)
    return [
        Scenario.of(rates, estimate.pixels, count, cores, on_gpus=choice.device == "cuda")
        for count in sorted({own, *DEVICES})
    ]


def tried(trial: Autotuner) -> Choice:
    """The trial's answer, from a process of its own: this one stays without torch."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(trial).result()


def measured(request: Request, plan: Plan, estimate: Estimate, device: float, out: Path) -> Rates:
    """Rates of a block in the middle of the region; one device's networks make ``device`` pixels/s."""
    numbers = plan.blocks.numbers_in(plan.region)
    box = plan.blocks.box(int(numbers[len(numbers) // 2]))
    began, started = time.process_time(), time.perf_counter()
    pixels = request.image.read(box, plan.image.channels)
    decode, waited = time.process_time() - began, time.perf_counter() - started
    margins = zip(plan.grid.block, plan.grid.before, plan.grid.after, strict=True)
    seen = prod(b + x + y for b, x, y in margins) / prod(plan.grid.block)
    stored, reads = _read_per_second(request.image.array, pixels.nbytes / waited)
    with _beside(out) as folder:
        layer = Layer.create(str(folder / "labels"), layout_of(plan, request).layer(LABELS))
        labels = _labels(pixels, layer.layout)
        began = time.process_time()
        layer.write(box, labels)
        encode = time.process_time() - began
        written = sum(file.stat().st_size for file in (folder / "labels/0/c").rglob("*") if file.is_file())
        writes = _written_per_second(folder / "disk")
    # Other layers and levels are taken to cost for each of their bytes what these labels do.
    more = estimate.bytes_written / estimate.pixels * box.size / labels.nbytes
    return Rates(
        device=device,
        decode=decode * seen / box.size,
        encode=encode * more / box.size,
        read_bytes=stored * pixels.nbytes * seen / box.size,
        written_bytes=written * more / box.size,
        disk_reads=reads,
        disk_writes=writes,
    )


def _labels(pixels: NDArray[Any], layout: PyramidLayout) -> NDArray[Any]:
    """What stands for the networks' answer: classes by brightness, each about as large."""
    grey = np.nan_to_num(pixels.mean(axis=0, dtype=np.float32))
    if layout.dtype.startswith("float"):
        return np.stack([grey.astype(layout.dtype)] * layout.channels)
    edges = np.quantile(grey.reshape(-1)[:: max(1, grey.size // 2**16)], (0.5, 0.8))
    return np.stack([np.digitize(grey, edges).clip(0, 1).astype(layout.dtype)] * layout.channels)


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder on the disk that ``out`` will be on, until the block ends; elsewhere where that cannot be."""
    parent = next(folder for folder in out.absolute().parents if folder.is_dir())
    with TemporaryDirectory(prefix=".plan-", dir=parent if os.access(parent, os.W_OK) else None) as name:
        yield Path(name)


def _read_per_second(array: PixelArray, else_: float) -> tuple[float, float]:
    """Stored bytes for each of decoded pixels, and how many are read per second past the page cache.

    Of an array that is no folder here, decoded bytes count, and ``else_`` of them a second.
    """
    found = None if array.local is None else next((f for f in array.local.rglob("*") if _holds(f)), None)
    if found is None:
        return 1.0, else_
    with found.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        started = time.perf_counter()
        size = len(file.read(DISK_BYTES))
        seconds = time.perf_counter() - started
    return found.stat().st_size / (prod(array.shard) * array.dtype.itemsize), size / seconds


def _holds(file: Path) -> bool:
    return file.name != "zarr.json" and not file.name.startswith(".") and file.is_file()


def _written_per_second(path: Path) -> float:
    content = np.random.default_rng(0).bytes(DISK_BYTES)
    started = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        file.write(content)
        os.fsync(file.fileno())
    return DISK_BYTES / (time.perf_counter() - started)

"""Resources: how many workers, with how many threads, network calls at once and how much cache.

Imports neither torch nor dask.
"""

import os
from collections.abc import Sequence
from math import ceil, prod
from pathlib import Path
from typing import TYPE_CHECKING

from unet_batch.models.machine import device_kind, free_memory
from unet_batch.models.spec import ModelSpec
from unet_batch.predict.config import PredictConfig

if TYPE_CHECKING:
    from unet_batch.predict.plan import ComputePart, Plan
    from unet_batch.predict.planning import Choice

CACHE_BYTES = 64 * 2**20  # decoded chunks that a worker keeps for neighbouring blocks
MEMORY_SHARE = 0.35  # of what is free, for the networks of all workers of a machine
IDLE_SHARE = 0.1  # of the time, that calls may lack blocks at the end of a run
# Peak of a U-Net in copies of its finest feature map: skip, up-sampled, concatenated, two convolutions.
# Measured on CPUs: eager 8.2; OpenVINO, which uses memory again, 4.0 to 4.8.
FEATURE_MAPS = {"eager": 8, "compile": 8, "openvino": 5}
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


def threads(config: PredictConfig) -> int:
    """CPU threads of each worker; two at least unless one is asked for."""
    if config.threads != "auto" or _told():
        return machine_threads(config)
    return max(2, machine_threads(config) // max(1, worker_count(config)))


def machine_threads(config: PredictConfig) -> int:
    """CPU threads that the settings or a batch system's job give to one worker, or the machine to all."""
    if config.threads != "auto":
        return config.threads
    return max(2, _told() or len(os.sched_getaffinity(0)))


def _told() -> int:
    """What a batch system's job says that each worker has; 0 outside of one."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() else 0


def worker_count(config: PredictConfig) -> int:
    """Worker processes to start: one for each GPU, else one; 0 is the serial loop."""
    if config.workers != "auto":
        return config.workers
    if device_kind(config.device) == "cpu" or ":" in config.device:
        return 1
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return max(1, len([v for v in visible.split(",") if v]))
    return max(1, len(list(Path("/dev").glob("nvidia[0-9]*"))))


def network_bytes(spec: ModelSpec, compute: "Choice | ComputePart", tile: Sequence[int]) -> int:
    """Rough peak of one network call: feature maps at full resolution (3-D: twice, for its wider kernels)."""
    pixels = prod(spec.input_size(t) for t in tile) * compute.batch
    return pixels * spec.width * FEATURE_MAPS[compute.backend] * BYTES[compute.precision] * (spec.dims - 1)


def calls_at_once(plan: "Plan", packets: int, workers: int, free_bytes: int | None = None) -> int:
    """Network calls that a worker should run at once, of ``packets`` under way: no answer depends on it.

    One packet reads or writes meanwhile. As many calls as memory holds, and few enough that all have blocks
    to the end of the run.

    Args:
        plan: what is computed.
        packets: packets that the worker runs at once.
        workers: how many share the machine's memory and the blocks.
        free_bytes: of memory; None asks the machine.
    """
    if plan.compute.backend != "openvino":
        return 1
    free = free_memory() if free_bytes is None else free_bytes
    each = network_bytes(plan.spec, plan.compute, plan.grid.tile[-plan.spec.dims :]) * len(plan.model.hashes)
    most = min(packets - 1, int(MEMORY_SHARE * free / (workers * each)))
    sides = (ceil(b / n) - a // n for (a, b), n in zip(plan.select.roi, plan.grid.block, strict=True))
    blocks = ceil(prod(sides) / workers)
    return max((n for n in range(1, most + 1) if -blocks % n <= IDLE_SHARE * blocks), default=1)

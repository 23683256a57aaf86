"""Resources: how many workers, with how many threads, network calls at once and how much cache.

Imports neither torch nor dask.
"""

import os
from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from unet_batch.devices.claim import count
from unet_batch.models.machine import free_memory
from unet_batch.models.spec import ModelSpec
from unet_batch.prediction.config import PredictConfig
from unet_batch.tiling import ceil_div

if TYPE_CHECKING:
    from unet_batch.prediction.plan import Choice, ComputePart, Plan

FEW_PIXELS = 2**22  # a U-Net on two cores does some Mpx/s
CACHE_BYTES = 64 * 2**20  # decoded chunks that a worker keeps for neighbouring blocks
MEMORY_SHARE = 0.35  # of what is free, for the networks of all workers of a machine
BUSY_SHARE = 0.95  # of threads and time, that calls at once must use: the last ones of a run may lack blocks
# Peak of a U-Net in copies of its finest feature map: skip, up-sampled, concatenated, two convolutions.
# Measured on CPUs: eager 8.2; OpenVINO, which uses memory again, 4.0 to 4.8.
FEATURE_MAPS = {"eager": 8, "fused": 8, "compile": 8, "openvino": 5}
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


def threads(config: PredictConfig) -> int:
    """CPU threads of each worker."""
    if config.threads != "auto" or _told():
        return machine_threads(config)
    return max(1, len(os.sched_getaffinity(0)) // max(1, worker_count(config)))


def machine_threads(config: PredictConfig) -> int:
    """CPU threads that the settings or a batch system's job give to one worker, or the machine to all.

    Two at least unless one is asked for: with torch one thread rounds otherwise than more, more often than
    these among themselves.
    """
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
    return max(1, count(config.device))


def small(config: PredictConfig, pixels: int) -> bool:
    """Whether so few pixels are best done in this process: workers take some seconds to start.

    Not where a GPU would be used: a driver opens no context there.
    """
    auto = config.workers == "auto" and config.scheduler is None
    return auto and pixels <= FEW_PIXELS and (config.device == "cpu" or not count(config.device))


def on_gpus(config: PredictConfig) -> bool:
    """Whether workers of this machine compute on GPUs."""
    return count(config.device) > 0


def network_bytes(spec: ModelSpec, compute: "Choice | ComputePart", tile: Sequence[int]) -> int:
    """Rough peak of one network call: feature maps at full resolution (3-D: twice, for its wider kernels)."""
    pixels = prod(spec.input_size(t) for t in tile) * compute.batch
    return pixels * spec.width * FEATURE_MAPS[compute.backend] * BYTES[compute.precision] * (spec.dims - 1)


def canvas_bytes(plan: "Plan") -> int:
    """Of a block whose probabilities are kept while its tiles are computed; 0 where labels alone are."""
    kept = plan.compute.merge == "blend" or plan.output.probabilities or plan.output.confidence
    return 4 * prod(plan.grid.block) * (plan.spec.out_channels + 1) if kept else 0


def calls_at_once(
    plan: "Plan", packets: int, threads: int, blocks: int, workers: int, free_bytes: int | None = None
) -> int:
    """Network calls that a worker should run at once, of ``packets`` under way: no answer depends on it.

    One packet reads or writes meanwhile. As many calls as share the threads and as memory holds, and few
    enough that all have blocks to the end of the run.

    Args:
        plan: what is computed.
        packets: packets that the worker runs at once.
        threads: CPU threads of the worker.
        blocks: that the worker is to do.
        workers: how many share the machine's memory.
        free_bytes: of memory; None asks the machine.
    """
    if plan.compute.backend != "openvino" or plan.compute.threads is not None:
        return 1
    free = free_memory() if free_bytes is None else free_bytes
    network = network_bytes(plan.spec, plan.compute, plan.grid.tile[-plan.spec.dims :])
    each = network * len(plan.model.hashes) + canvas_bytes(plan)
    most = min(packets - 1, threads, int(MEMORY_SHARE * free / (workers * each)))
    return max((n for n in range(1, most + 1) if _busy(n, threads, blocks) >= BUSY_SHARE), default=1)


def _busy(calls: int, threads: int, blocks: int) -> float:
    """Share of the threads and of the time that so many calls at once use."""
    rounds = ceil_div(blocks, calls)
    return blocks / (rounds * calls) * (threads // calls * calls) / threads

"""Resources: how many workers, with how many threads and how much cache. Imports neither torch nor dask."""

import os
from pathlib import Path

from unet_batch.models.machine import device_kind
from unet_batch.predict.config import PredictConfig

CACHE_BYTES = 64 * 2**20  # decoded chunks that a worker keeps for neighbouring blocks


def threads(config: PredictConfig) -> int:
    """CPU threads of each worker's network.

    At least two unless one is asked for: one thread's fp32 convolutions differ in their last bits from those
    of more, which agree among themselves; so the bytes do not depend on the number of workers.
    """
    if config.threads != "auto":
        return config.threads
    told = os.environ.get("OMP_NUM_THREADS", "")  # a batch system's job says so what each worker has
    if told.isdigit():
        return max(2, int(told))
    return max(2, len(os.sched_getaffinity(0)) // max(1, worker_count(config)))


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

"""The crew of a product: a worker per core for numpy on blocks, or none where starting them costs more."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from unet_batch.engine.config import ExecutionConfig
from unet_batch.engine.worker_pool import WorkerPool, worker_pool

# A core does some 50 Mpx/s and a worker process takes some two seconds to start.
_FEW_PIXELS = 2**26


@contextmanager
def crew(config: ExecutionConfig, pixels: int) -> Iterator[WorkerPool]:
    """Workers for an image of so many ``pixels``, for the length of a run."""
    cores = len(os.sched_getaffinity(0))
    count = config.workers if config.workers != "auto" else 0 if pixels <= _FEW_PIXELS else cores
    with worker_pool(config, count, 1 if config.threads == "auto" else config.threads) as found:
        yield found

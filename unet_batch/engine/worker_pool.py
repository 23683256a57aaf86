"""WorkerPool: how blocks, and questions about a device, reach where they are computed."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from unet_batch.cluster.config import ClusterConfig, packets_at_once
from unet_batch.engine.config import ExecutionConfig
from unet_batch.schedule import serial
from unet_batch.schedule.events import Executor, Stop

AnswerT = TypeVar("AnswerT")
ExecutionT = TypeVar("ExecutionT", bound=ExecutionConfig)


@dataclass(frozen=True, slots=True)
class WorkerPool:
    """Where blocks are computed, and who answers a question there: ``pool.ask(question)``.

    ``count()`` is how many there are by now, one at least; others may come.
    """

    _ask: Callable[[Callable[[], object]], object]
    execute: Executor
    count: Callable[[], int] = lambda: 1
    dashboard: str | None = None

    def ask(self, question: Callable[[], AnswerT]) -> AnswerT:
        """What ``question()`` gives on some worker; its errors are raised here."""
        return self._ask(question)  # type: ignore[return-value]  # the callable's own type


@dataclass(frozen=True, slots=True)
class Workers:
    """Who should do the blocks of a job.

    Attributes:
        config: scheduler and packets.
        count: processes to start where no scheduler is named; 0 is the plain loop in this process.
        threads: CPU threads of each process's own libraries.
        threads_here: do blocks on so many threads of this process instead, for work that shares what it has
            read; 0 is the plain loop.
        on_gpus: whether each has one: more packets then read and write beside it.
    """

    config: ExecutionConfig
    count: int = 0
    threads: int = 1
    threads_here: int | None = None
    on_gpus: bool = False

    @contextmanager
    def open(self, stop: Stop) -> Iterator[WorkerPool]:
        """The workers, until the block ends."""
        if self.threads_here and self.config.scheduler is None:
            yield WorkerPool(
                lambda question: question(), partial(serial.run_threads, threads=self.threads_here)
            )
            return
        with worker_pool(self.config, self.count, self.threads, stop, on_gpus=self.on_gpus) as pool:
            yield pool


# A core does some 50 Mpx/s of numpy and a worker process takes some two seconds to start.
_FEW_PIXELS = 2**26


def numpy_workers(config: ExecutionConfig, pixels: int, most: int | None = None) -> Workers:
    """A worker per core, ``most`` at most, for numpy on ``pixels``; none where starting them costs more."""
    cores = len(os.sched_getaffinity(0))
    auto = 0 if pixels <= _FEW_PIXELS else min(cores, most or cores)
    count = auto if config.workers == "auto" else config.workers
    return Workers(config, count, 1 if config.threads == "auto" else config.threads)


@contextmanager
def kept(config: ExecutionT, count: int, threads: int, *, on_gpus: bool = False) -> Iterator[ExecutionT]:
    """``config`` for many runs in a row that share the workers started here; otherwise as ``workers``."""
    if count == 0 or config.scheduler is not None:
        yield config
        return
    from unet_batch.cluster.local import connect, rendezvous_of  # noqa: PLC0415 - imports distributed

    with (
        connect(_cluster(config, count, threads, on_gpus=on_gpus)) as client,
        TemporaryDirectory(prefix="unet-batch-") as folder,
    ):
        yield config.model_copy(update={"scheduler": str(rendezvous_of(client, Path(folder)))})


@contextmanager
def worker_pool(
    config: ExecutionConfig,
    count: int,
    threads: int,
    stop: Stop = lambda: False,
    *,
    on_gpus: bool = False,
) -> Iterator[WorkerPool]:
    """Workers for the length of a run: this process, processes started here, or a running cluster.

    Args:
        config: who does the blocks.
        count: processes to start where no scheduler is named; 0 is this process.
        threads: CPU threads of each.
        stop: asked while a question waits for its answer.
        on_gpus: whether each process has one.
    """
    if count == 0 and config.scheduler is None:
        yield WorkerPool(lambda question: question(), serial.run)
        return
    # Dask takes half a second to import, and most runs of small verbs need none.
    from unet_batch.cluster.local import connect, dashboard, patience  # noqa: PLC0415
    from unet_batch.schedule import dask as by_dask  # noqa: PLC0415

    wait = patience(config.scheduler)
    packing = by_dask.Packing(config.packet_seconds, patience=wait, durability=config.durability)
    cluster = _cluster(config, count, threads, on_gpus=on_gpus)
    with connect(cluster) as client:
        execute = partial(by_dask.run, client, packing=packing)
        ask = partial(by_dask.ask, client, stop=stop, patience=wait)
        yield WorkerPool(ask, execute, partial(by_dask.workers, client), dashboard(client, cluster))


def _cluster(config: ExecutionConfig, count: int, threads: int, *, on_gpus: bool) -> ClusterConfig:
    return ClusterConfig(
        scheduler=config.scheduler,
        workers=max(1, count),
        concurrency=packets_at_once(config.concurrency, threads, on_gpu=on_gpus),
        threads=threads,
        start_timeout=config.scheduler_seconds,
        dashboard=config.dashboard,
    )

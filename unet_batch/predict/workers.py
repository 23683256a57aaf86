"""Workers: how blocks, and questions about the device, reach where they are computed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from unet_batch.cluster.config import ClusterConfig
from unet_batch.cluster.local import connect, dashboard
from unet_batch.predict.config import PredictConfig
from unet_batch.predict.planning import Choice
from unet_batch.predict.resources import threads, worker_count
from unet_batch.schedule import dask as by_dask
from unet_batch.schedule import serial
from unet_batch.schedule.events import Executor


@dataclass(frozen=True, slots=True)
class Workers:
    """Where blocks are computed, and where a question about the device is answered."""

    ask: Callable[[Callable[[], Choice]], Choice]
    execute: Executor
    dashboard: str | None = None


@contextmanager
def workers(config: PredictConfig) -> Iterator[Workers]:
    """Workers for the length of a run: this process, processes started here, or a running cluster."""
    count = worker_count(config)
    if count == 0 and config.scheduler is None:
        yield Workers(lambda question: question(), serial.run)
        return
    cluster = ClusterConfig(
        scheduler=config.scheduler,
        workers=max(1, count),
        concurrency=config.concurrency,
        threads=threads(config),
    )
    packing = by_dask.Packing(seconds=config.packet_seconds)
    with connect(cluster) as client:
        execute = partial(by_dask.run, client, packing=packing)
        yield Workers(partial(by_dask.ask, client), execute, dashboard(client))

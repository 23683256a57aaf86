"""What a YAML file or a setting may say about where the workers are."""

from typing import Annotated, Literal

from pydantic import Field

from unet_batch.config import Config

Concurrency = Literal["auto"] | Annotated[int, Field(ge=1)]
MOST_AT_ONCE = 4  # packets of a worker that compute: each holds a block, and all are ended at a stop
MOST_AT_ONCE_ON_A_GPU = 11  # they read and write while it computes


def packets_at_once(concurrency: Concurrency, threads: int, *, on_gpu: bool = False) -> int:
    """Packets that a worker with ``threads`` threads runs at once: ``auto`` is one more than may compute."""
    most = MOST_AT_ONCE_ON_A_GPU if on_gpu else MOST_AT_ONCE
    return min(threads, most) + 1 if concurrency == "auto" else concurrency


class ClusterConfig(Config):
    """Where blocks are computed.

    Attributes:
        scheduler: address (``tcp://host:port``) or scheduler file of a running Dask cluster; None starts
            workers on this machine for the length of the run.
        workers: worker processes to start here, one device each.
        concurrency: packets that one worker runs at once, so that one reads while others compute.
        threads: CPU threads of each worker's own libraries; None leaves it to them.
        processes: False keeps the worker inside the driver's process.
        dashboard: address of the dashboard of workers started here; None for none.
    """

    scheduler: str | None = None
    workers: int = Field(default=1, ge=1)
    concurrency: int = Field(default=2, ge=1)
    threads: int | None = Field(default=None, ge=1)
    processes: bool = True
    dashboard: str | None = None
    start_timeout: float = Field(default=60.0, gt=0)


class PoolConfig(Config):
    """A scheduler and workers that reach each other over a network.

    Attributes:
        interface: network interface of scheduler and workers, e.g. ``ib0``; None takes the one by which the
            scheduler is reached.
        port: of the scheduler; 0 takes any free one.
        tls: encrypt and authenticate by a certificate that is made for each scheduler.
        dashboard: address of the dashboard, for example ``127.0.0.1:0``; every user of its machine
            can read it. None for none.
        patience: seconds without any worker after which a driver leaves, to go on later.
        concurrency: packets that one worker runs at once, so that one reads while others compute; ``auto`` is
            one more than it has threads, up to five, and up to twelve where it has a GPU.
        preload: modules that a worker imports before it joins, while the driver starts.
    """

    interface: str | None = None
    port: int = Field(default=0, ge=0, le=65535)
    tls: bool = True
    dashboard: str | None = None
    patience: float = Field(default=300.0, gt=0)
    concurrency: Concurrency = "auto"
    preload: tuple[str, ...] = ("torch",)

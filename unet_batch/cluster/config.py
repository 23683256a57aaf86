"""What a YAML file or a setting may say about where the workers are."""

from pydantic import Field

from unet_batch.config import Config


class ClusterConfig(Config):
    """Where blocks are computed.

    Attributes:
        scheduler: address (``tcp://host:port``) or scheduler file of a running Dask cluster; None starts
            workers on this machine for the length of the run.
        workers: worker processes to start here, one device each.
        concurrency: packets that one worker runs at once, so that one reads while another computes.
        threads: CPU threads of each worker's own libraries; None leaves it to them.
        processes: False keeps the worker inside the driver's process.
        dashboard: address of the dashboard of a local cluster; loopback only unless told otherwise.
    """

    scheduler: str | None = None
    workers: int = Field(default=1, ge=1)
    concurrency: int = Field(default=2, ge=1)
    threads: int | None = Field(default=None, ge=1)
    processes: bool = True
    dashboard: str = "127.0.0.1:0"
    start_timeout: float = Field(default=60.0, gt=0)

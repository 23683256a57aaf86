"""What a YAML file or a setting may say about who does the blocks. A verb's own settings extend it."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from unet_batch.cluster.config import Concurrency
from unet_batch.config import Config
from unet_batch.unsynced import Durability


def _automatic(value: object) -> object:
    return "auto" if value is None else value


class ExecutionConfig(Config):
    """Where the blocks of a run are done, and what becomes of an older output. None of it changes a byte.

    Attributes:
        workers: worker processes; 0 runs the plain serial loop in this process.
        threads: CPU threads of each worker's own libraries.
        concurrency: packets that a worker runs at once, so that one reads while others compute; ``auto`` is
            one more than it has threads, up to five, and up to twelve where it has a GPU.
        scheduler: address or scheduler file of a running Dask cluster.
        scheduler_seconds: how long a scheduler may take to answer.
        packet_seconds: work that one Dask task holds.
        overwrite: begin an output anew that is there, or was begun with other settings. What this program
            did not make is never removed.
        dashboard: address of Dask's dashboard for workers started here, for example ``127.0.0.1:8787``. Every
            user of this machine can read it. None for none.
        durability: ``fsync``: a block counts once what it wrote is on the disk, so that a loss of power costs
            no block that the ledger calls done. ``none`` leaves that to the operating system.
    """

    workers: Annotated[Literal["auto"] | Annotated[int, Field(ge=0)], BeforeValidator(_automatic)] = "auto"
    threads: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    concurrency: Concurrency = "auto"
    scheduler: str | None = None
    scheduler_seconds: float = Field(default=20.0, gt=0)
    packet_seconds: float = Field(default=10.0, gt=0)
    dashboard: str | None = None
    overwrite: bool = False
    durability: Durability = "fsync"

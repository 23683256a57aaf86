"""``unet-batch pool``: scheduler, worker, probe. What sbatch files start; also by hand, over any machines."""

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import click


@click.group()
def command() -> None:
    """Scheduler and workers of a Dask pool over several machines."""


cluster = click.option(
    "--cluster", "cluster_file", type=click.Path(path_type=Path), help="YAML with settings of the cluster."
)
overrides = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one setting."
)


@command.command()
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path))
@cluster
@overrides
def scheduler(path: Path, cluster_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Serve until SIGTERM; FILE tells workers and drivers where (predict ... --scheduler FILE)."""
    from unet_batch.cluster.pool import run_scheduler  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.cluster.slurm.config import SlurmConfig  # noqa: PLC0415
    from unet_batch.config import load  # noqa: PLC0415

    run_scheduler(path.absolute(), load(SlurmConfig, cluster_file, overrides), _tell)


@command.command()
@click.argument("path", metavar="FILE|FOLDER", type=click.Path(path_type=Path))
@cluster
@overrides
@click.option(
    "--wait", type=click.FloatRange(min=0), help="Seconds to wait for a scheduler; default: patience."
)
def worker(path: Path, cluster_file: Path | None, overrides: tuple[str, ...], wait: float | None) -> None:
    """Work for the scheduler of FILE, or of the newest one in FOLDER, until it ends or SIGTERM comes.

    Exit code 75: no scheduler came.
    """
    from unet_batch.cluster.pool import newest, run_worker  # noqa: PLC0415 - imported when it runs
    from unet_batch.cluster.slurm.config import SlurmConfig  # noqa: PLC0415
    from unet_batch.config import load  # noqa: PLC0415

    config = load(SlurmConfig, cluster_file, overrides)
    threads = config.cpus_per_task or int(os.environ.get("SLURM_CPUS_PER_TASK", "1"))

    def find() -> Path | None:
        return newest(path) if path.is_dir() else (path if path.exists() else None)

    _tell(run_worker(find, config, max(2, threads), config.patience if wait is None else wait))


def _tell(message: str) -> None:
    click.echo(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {message}", err=True)


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@cluster
@overrides
def probe(folder: Path, cluster_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Leave in FOLDER what this node sees of folder, network and torch; part of `cluster doctor`."""
    from unet_batch.cluster.slurm.config import SlurmConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.cluster.slurm.probe import probe as look  # noqa: PLC0415
    from unet_batch.config import load  # noqa: PLC0415

    config = load(SlurmConfig, cluster_file, overrides)
    look(folder, config.interface, config.port, lambda *meeting: _about(config.interface, *meeting))


def _about(interface: str | None, rank: int, count: int, address: str) -> dict[str, Any]:
    """This environment's versions, and whether torch's processes reach each other."""
    from unet_batch.errors import text_of  # noqa: PLC0415 - imported when it runs

    found: dict[str, Any] = {"python": platform.python_version(), "unet_batch": version("unet-batch")}
    try:
        from unet_batch.models.collective import about_torch, add_up  # noqa: PLC0415 - imports torch
    except ImportError as error:
        return {**found, "torch_error": str(error)}
    found |= about_torch()
    backends: list[Literal["gloo", "nccl"]] = ["gloo", "nccl"] if found["gpus"] else ["gloo"]
    for backend in backends if count > 1 and address else []:
        try:
            found[backend] = add_up(backend, rank, count, address, interface, 60.0)
        except RuntimeError as error:
            found[backend] = text_of(error)
    return found

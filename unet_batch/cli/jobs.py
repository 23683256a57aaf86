"""``unet-batch jobs``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unet_batch.cli import options

if TYPE_CHECKING:
    from unet_batch.cluster.slurm.jobs import Work

PATH = click.Path(path_type=Path)
cluster = click.option(
    "--cluster", "cluster_file", type=PATH, envvar="UNET_BATCH_CLUSTER", help="The cluster's YAML."
)
folder = click.option("--folder", type=PATH, help="Where the jobs' folders are; default: as the YAML says.")


def root_of(cluster_file: Path | None, folder: Path | None) -> Path:
    """Where the jobs' folders are."""
    from unet_batch.cluster.slurm.config import SlurmConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.config import load  # noqa: PLC0415

    return folder.absolute() if folder else load(SlurmConfig, cluster_file).root


@click.command()
@click.option(
    "--days", type=click.FloatRange(min=0), default=1.0, show_default=True, help="Ended ones as well."
)
@cluster
@folder
@options.as_json
def command(days: float, cluster_file: Path | None, folder: Path | None, as_json: bool) -> None:
    """List the jobs that were submitted, how far they are, and why one waits or failed."""
    from unet_batch.cluster.slurm.jobs import works  # noqa: PLC0415 - imported when it runs

    found = works(root_of(cluster_file, folder), days=days)
    progress = {work.job: _progress(work) for work in found}
    if as_json:
        options.echo_json([_plain(work, progress[work.job]) for work in found])
        return
    if not found:
        click.echo("no jobs")
    for work in found:
        click.echo(_line(work, progress[work.job]))
        for note in _notes(work):
            click.echo(f"{'':>8} {note}")


def _line(work: "Work", progress: float | None) -> str:
    share = "" if progress is None else f"{100 * progress:.0f} %"
    times = f"{work.used}/{work.limit}" if work.used else ""
    return f"{work.job:>8} {work.state:<10} {share:>5} {times:<22} {work.record.comment}"


def _notes(work: "Work") -> list[str]:
    notes = [work.reason] if work.reason else []
    if "held" in work.reason.lower():
        notes.append(f"SLURM holds it; once what it names is mended: scontrol release {work.job}")
    if work.workers is not None and work.alive:
        notes.append(f"{work.workers} workers run")
    if work.restarts:
        notes.append(f"has begun anew {work.restarts} times")
    if work.state == "failed" and work.record.go_on:
        notes.append(f"once mended, go on with: {work.record.go_on}")
    return notes


def _progress(work: "Work") -> float | None:
    """Share of the store's blocks that are settled; None where there is none to look at."""
    from unet_batch.errors import UnetBatchError  # noqa: PLC0415 - imported when it runs
    from unet_batch.prediction.status import status  # noqa: PLC0415

    if work.record.out is None:
        return None
    try:
        blocks = status(work.record.out).blocks
    except (UnetBatchError, OSError):
        return None
    return 1 - blocks["pending"] / blocks["total"]


def _plain(work: "Work", progress: float | None) -> dict[str, Any]:
    keys = ("job", "state", "reason", "used", "limit", "nodes", "workers", "restarts")
    record = work.record
    told = {"name": record.name, "comment": record.comment, "out": record.out, "go_on": record.go_on}
    return {
        **{key: getattr(work, key) for key in keys},
        **told,
        "folder": str(work.folder),
        "progress": progress,
    }

"""``unet-batch cancel``."""

from pathlib import Path

import click

from unet_batch.cli.jobs import cluster, folder, root_of


@click.command()
@click.argument("job")
@cluster
@folder
def command(job: str, cluster_file: Path | None, folder: Path | None) -> None:
    """End JOB and its workers. What is in its store stays: submit it again to go on."""
    from unet_batch.cluster.slurm.jobs import cancel  # noqa: PLC0415 - imported when it runs

    numbers = cancel(root_of(cluster_file, folder), job)
    click.echo(f"cancelled {' and '.join(map(str, numbers))}")

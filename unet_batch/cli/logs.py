"""``unet-batch logs``."""

import time
from pathlib import Path

import click

from unet_batch.cli.jobs import cluster, folder, root_of

POLL_SECONDS = 0.5


@click.command()
@click.argument("job")
@click.option(
    "--lines", "-n", type=click.IntRange(min=0), default=40, show_default=True, help="Of each file's end."
)
@click.option("--follow", "-f", is_flag=True, help="Go on showing what is written, until Ctrl-C.")
@cluster
@folder
def command(job: str, lines: int, follow: bool, cluster_file: Path | None, folder: Path | None) -> None:
    """Print the end of what JOB wrote: its driver and, if they are jobs of their own, its workers."""
    from unet_batch.cluster.slurm.jobs import files_of  # noqa: PLC0415 - imported when it runs

    files = files_of(root_of(cluster_file, folder), job)
    for file in files:
        click.echo(f"==> {file}")
        if file.is_file():
            for line in file.read_text(encoding="utf-8", errors="replace").splitlines()[-lines or None :]:
                click.echo(line)
        else:
            click.echo("not begun yet")
    if follow:
        _follow(files[0])


def _follow(file: Path) -> None:
    while not file.exists():
        time.sleep(POLL_SECONDS)
    with file.open(encoding="utf-8", errors="replace") as text:
        text.seek(0, 2)
        while True:
            click.echo(text.read(), nl=False)
            time.sleep(POLL_SECONDS)

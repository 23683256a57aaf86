"""``unet-batch cluster``: doctor, files."""

from dataclasses import asdict
from pathlib import Path

import click

from unet_batch.cli import options
from unet_batch.cli.exit_codes import ExitCode
from unet_batch.cli.jobs import cluster


@click.group()
def command() -> None:
    """What a SLURM cluster has and lacks."""


@command.command()
@cluster
@click.option("--slurm", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of the YAML.")
@click.option(
    "--wait", type=click.FloatRange(min=1), default=300.0, show_default=True, help="Seconds for its job."
)
@options.as_json
def doctor(cluster_file: Path | None, overrides: tuple[str, ...], wait: float, as_json: bool) -> int:
    """Submit a tiny job to two nodes and tell what would keep others from running; if so, exit code 3."""
    from unet_batch.cluster.slurm.config import SlurmConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.cluster.slurm.doctor import examine  # noqa: PLC0415
    from unet_batch.config import load  # noqa: PLC0415

    config, found = load(SlurmConfig, cluster_file, overrides), []
    for finding in examine(config, str(cluster_file or "the command line"), wait):
        found.append(finding)
        if not as_json:
            click.echo(f"{finding.verdict:<5} {finding.what:<18} {finding.told}")
            if finding.cure:
                click.echo(f"{'':<24} cure: {finding.cure}")
    if as_json:
        options.echo_json([asdict(finding) for finding in found])
    return ExitCode.INCOMPLETE if any(finding.verdict == "fail" for finding in found) else 0


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
def files(folder: Path) -> None:
    """Copy the sbatch files and site.env to FOLDER, to edit; then set `files` in the cluster's YAML."""
    from unet_batch.cluster.slurm.folder import copy_files  # noqa: PLC0415 - imported when it runs

    written = copy_files(folder)
    for path in written:
        click.echo(path)
    if not written:
        click.echo(f"{folder}: has them all already")

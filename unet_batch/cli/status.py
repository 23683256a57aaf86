"""``unet-batch status``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from unet_batch.cli import options

if TYPE_CHECKING:
    from unet_batch.prediction.status import Status


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@options.as_json
def command(out: Path, as_json: bool) -> None:
    """Print the state of the mask store OUT, also while a run is writing it."""
    from unet_batch.prediction.status import status  # noqa: PLC0415 - imported when it runs

    found = status(out)
    if as_json:
        options.echo_json(found)
    else:
        show(found)


def show(found: "Status") -> None:
    """Print a status as text."""
    counts = ", ".join(f"{n} {what}" for what, n in found.blocks.items() if n or what == "done")
    click.echo(f"{found.path}: {found.state}; blocks: {counts}")
    total = sum(found.class_pixels.values())
    for name, pixels in found.class_pixels.items():
        share = f"{100 * pixels / total:6.2f} %" if total else ""
        click.echo(f"  {name:<16} {pixels:>15,} px {share}")
    if found.pixels_per_second:
        rate = found.pixels_per_second / 1e6
        click.echo(f"  {rate:.3g} Mpx/s over {options.duration(found.seconds)}{_where_time_went(found)}")
    if found.state == "running":
        left = "" if found.seconds_left is None else f"  {options.duration(found.seconds_left)} left"
        jobs = f"  jobs: {', '.join(found.jobs)}" if found.jobs else ""
        click.echo(f"{left}{jobs}" or "  no block has ended yet")
    if found.untiled_max_abs_diff is not None:
        click.echo(f"  largest difference to an untiled pass: {found.untiled_max_abs_diff:.3g}")
    for line in found.remarks:
        click.echo(f"  {line}")
    for line in found.failures if found.blocks["failed"] else ():
        click.echo(f"  {line}")


def _where_time_went(found: "Status") -> str:
    total = sum(found.stages.values())
    parts = (
        ", ".join(f"{stage} {100 * s / total:.0f} %" for stage, s in found.stages.items()) if total else ""
    )
    read = found.read_amplification
    amplification = f"; {read:.2f} bytes decoded per byte needed" if read else ""
    return f" ({parts}{amplification})"

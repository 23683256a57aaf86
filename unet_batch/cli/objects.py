"""``unet-batch objects``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unet_batch.cli.block_verb import BlockCall, block_verb
from unet_batch.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from unet_batch.products.objects.summary import Summary


@click.command()
@click.argument("masks", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--image", type=click.Path(path_type=Path), help="Measure mean intensities of this image.")
@click.option("--labels", type=click.Path(path_type=Path), help="Store of the object number of each pixel.")
@block_verb("objects")
def command(masks: Path, table: Path, image: Path | None, labels: Path | None, blocks: BlockCall) -> int:
    """Find the connected objects of the mask store MASKS and write TABLE; run again to go on.

    TABLE ends in .parquet or .csv.

    Where the masks have a class named border, interiors grow into it and every one is an instance. --labels
    may be IMAGE/labels/NAME: the objects then show with the image in viewers. Exit codes: 0 done; 2 bad
    input; 75 stopped early by a signal.
    """
    from unet_batch.products.objects.config import ObjectsConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.products.objects.run import objects  # noqa: PLC0415

    config = blocks.config(ObjectsConfig)
    with blocks.hooks() as hooks:
        found = objects(masks, table, config, image=image, labels=labels, hooks=hooks)

    def text() -> None:
        if found.finished:
            counts = ", ".join(f"{count:,} {name}" for name, count in found.objects.items())
            click.echo(f"{table}: {sum(found.objects.values()):,} objects ({counts}){_summed(found.summary)}")

    blocks.show("summary", asdict(found), text)
    return ExitCode.DONE if found.finished else ExitCode.STOPPED


def _summed(summary: "Summary | None") -> str:
    """What is known of density and size."""
    from unet_batch.products.scale import quantity  # noqa: PLC0415 - imported when it runs

    if summary is None:
        return ""
    dense = (
        ""
        if (found := summary.density) is None
        else f"; {found:{',.0f' if found > 99 else '.3g'}} per {summary.per}"
    )
    if summary.median is None:
        return dense
    what, power = ("area", 2) if summary.unit.endswith("²") else ("volume", 3)
    unit = summary.unit[:-1]
    return f"{dense}; median {what} {quantity(summary.median, None if unit == 'pixel' else unit, power)}"

"""``unet-batch ingest annotations IMAGE ANNOTATIONS OUT``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from unet_batch.cli import options
from unet_batch.cli.block_verb import BlockCall, block_verb

if TYPE_CHECKING:
    from unet_batch.ingestion.annotations.run import AnnotationsSummary


@click.command()
@click.argument("image")
@click.argument("annotations", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@block_verb("annotations", without=("scheduler",))
def command(image: str, annotations: Path, out: Path, blocks: BlockCall) -> None:
    """Paint ANNOTATIONS (GeoJSON, QuPath's too, or GeoPackage) as labels OUT on the grid of IMAGE.

    OUT may be IMAGE/labels/NAME. What nothing covers stays unlabelled, or is the class named by `rest`.
    """
    from unet_batch.ingestion.annotations.config import AnnotationsConfig  # noqa: PLC0415 - when it runs
    from unet_batch.ingestion.annotations.run import ingest_annotations  # noqa: PLC0415

    config = blocks.config(AnnotationsConfig)
    with blocks.counter() as progress:
        summary = ingest_annotations(image, annotations, out, config, progress=progress)
    blocks.show("summary", summary.to_json(), lambda: _show(summary))


def _show(summary: "AnnotationsSummary") -> None:
    if summary.left_out:
        click.echo(f"note: {summary.left_out} annotations without a class were left out", err=True)
    for number, name in enumerate(summary.classes):
        pixels = options.count_of(summary.pixels[name])
        click.echo(f"{number:4d}  {name}: {summary.annotations[name]} annotations, {pixels} px")
    unlabelled = f"{options.count_of(summary.unlabelled)} px unlabelled"
    click.echo(f"{summary.output}: {unlabelled}, {options.duration(summary.seconds)}")

"""``unet-batch ingest annotations IMAGE ANNOTATIONS OUT``."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unet_batch.cli import options
from unet_batch.cli.block_verb import BlockCall, block_verb
from unet_batch.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from unet_batch.ingestion.annotations.run import AnnotationsResult


@click.command()
@click.argument("image")
@click.argument("annotations", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@block_verb("annotations")
def command(image: str, annotations: Path, out: Path, blocks: BlockCall) -> int:
    """Paint ANNOTATIONS as labels OUT on the grid of IMAGE.

    GeoJSON (QuPath's too), GeoPackage, COCO and labelme JSON and Pascal VOC XML are read.

    OUT may be IMAGE/labels/NAME. What nothing covers stays unlabelled, or is the class named by `rest`.
    Run again to resume. Exit codes: 0 done; 2 bad input; 75 stopped early by a signal.
    """
    from unet_batch.ingestion.annotations.config import AnnotationsConfig  # noqa: PLC0415 - when it runs
    from unet_batch.ingestion.annotations.run import ingest_annotations  # noqa: PLC0415

    config = blocks.config(AnnotationsConfig)
    with blocks.hooks() as hooks:
        found = ingest_annotations(image, annotations, out, config, hooks=hooks)
    blocks.show("summary", found.to_json(), lambda: _show(found))
    return 0 if found.finished else ExitCode.STOPPED


def _show(summary: "AnnotationsResult") -> None:
    if not summary.finished:
        return
    if summary.left_out:
        click.echo(f"note: {summary.left_out} annotations without a class were left out", err=True)
    for note in _notes(summary):
        click.echo(f"note: {note}", err=True)
    for number, name in enumerate(summary.classes):
        pixels = options.count_of(summary.pixels[name])
        click.echo(f"{number:4d}  {name}: {summary.annotations[name]} annotations, {pixels} px")
    unlabelled = f"{options.count_of(summary.unlabelled)} px unlabelled"
    click.echo(f"{summary.output}: {unlabelled}, {options.duration(summary.seconds)}")


def _notes(summary: "AnnotationsResult") -> Iterator[str]:
    """What is probably not meant."""
    if summary.outside:
        total = sum(summary.annotations.values())
        yield f"{summary.outside} of {total} annotations lie outside the image; were they drawn on another?"
    for name, count in summary.annotations.items():
        if count and not summary.pixels[name]:
            yield (
                f"{name} has {count} annotations and not one pixel: others cover them, or they lie outside. "
                "Where annotations overlap, the later class lies on top; order them with `classes`, or leave "
                "a region that covers all out with --set 'rename={REGION: null}'"
            )

"""``unet-batch ingest annotations IMAGE ANNOTATIONS OUT``."""

import time
from pathlib import Path

import click

from unet_batch.cli import options
from unet_batch.cli.progress import display, echo_line


@click.command()
@click.argument("image")
@click.argument("annotations", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@options.settings("annotations")
@click.option("--overwrite", is_flag=True, help="Replace labels that are there.")
@options.quiet
@options.json_lines
@options.as_json
def command(
    image: str,
    annotations: Path,
    out: Path,
    config_file: Path | None,
    overrides: tuple[str, ...],
    **flags: bool,
) -> None:
    """Paint ANNOTATIONS (GeoJSON, QuPath's too, or GeoPackage) as labels OUT on the grid of IMAGE.

    OUT may be IMAGE/labels/NAME. What nothing covers stays unlabelled, or is the class named by `rest`.
    """
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.ingestion.annotations.config import AnnotationsConfig  # noqa: PLC0415
    from unet_batch.ingestion.annotations.run import ingest_annotations  # noqa: PLC0415

    overrides += ("overwrite=true",) if flags["overwrite"] else ()
    config = load(AnnotationsConfig, config_file, overrides)
    began = time.monotonic()
    with display("annotations", quiet=flags["quiet"], json_lines=flags["json_lines"]) as shown:
        summary = ingest_annotations(
            image,
            annotations,
            out,
            config,
            progress=lambda done, total, pixels: shown.update(done, total, pixels, time.monotonic() - began),
        )
    if flags["json_lines"]:
        echo_line("summary", summary.to_json())
        return
    if flags["as_json"]:
        options.echo_json(summary)
        return
    if summary.left_out:
        click.echo(f"note: {summary.left_out} annotations without a class were left out", err=True)
    for number, name in enumerate(summary.classes):
        pixels = options.count_of(summary.pixels[name])
        click.echo(f"{number:4d}  {name}: {summary.annotations[name]} annotations, {pixels} px")
    click.echo(
        f"{out}: {options.count_of(summary.unlabelled)} px unlabelled, {options.duration(summary.seconds)}"
    )

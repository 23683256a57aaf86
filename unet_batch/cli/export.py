"""``unet-batch export``."""

import json
from pathlib import Path

import click

from unet_batch.cli import options
from unet_batch.cli.block_verb import BlockCall, block_verb
from unet_batch.cli.exit_codes import ExitCode

KINDS = ["cog", "parts", "ome-tiff", "geojson", "parquet", "gpkg"]


@click.command()
@click.argument("masks", type=click.Path(path_type=Path))
@click.argument("out")
@click.option("--kind", type=click.Choice(KINDS), help="What to write; default: what the name ends in.")
@click.option("--image", help="Of QuPath's GeoJSON of a coarser level: the image of MASKS.")
@block_verb("export")
def command(masks: Path, out: str, kind: str | None, image: str | None, blocks: BlockCall) -> int:
    """Write the mask store MASKS to OUT; run again to resume.

    OUT ends in .tif (cloud optimized GeoTIFF), .ome.tif, .geojson, .parquet (GeoParquet), .gpkg, or is a
    folder for many GeoTIFFs with a VRT. Exit codes: 0 done; 2 bad input; 75 stopped early by a signal.
    """
    from unet_batch.products.export.config import ExportConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.products.export.run import export  # noqa: PLC0415

    chosen = [f"{key}={json.dumps(value)}" for key, value in {"kind": kind, "image": image}.items() if value]
    config = blocks.config(ExportConfig, *chosen)
    with blocks.hooks() as hooks:
        summary = export(masks, out, config, hooks=hooks)

    def text() -> None:
        if summary.finished:
            polygons = "" if summary.features is None else f", {summary.features:,} polygons"
            size = f"{options.count_of(summary.bytes)}B"
            click.echo(f"{out}: {summary.kind}{polygons}, {size}, {options.duration(summary.seconds)}")

    blocks.show("summary", summary.to_json(), text)
    return ExitCode.DONE if summary.finished else ExitCode.STOPPED

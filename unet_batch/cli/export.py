"""``unet-batch export``."""

from pathlib import Path

import click

from unet_batch.cli import options
from unet_batch.cli.exit_codes import ExitCode
from unet_batch.cli.progress import display, echo_line, observe
from unet_batch.cli.stopping import on_signals

KINDS = ["cog", "parts", "ome-tiff", "geojson", "parquet", "gpkg"]


@click.command()
@click.argument("masks", type=click.Path(path_type=Path))
@click.argument("out")
@click.option("--kind", type=click.Choice(KINDS), help="What to write; default: what the name ends in.")
@options.settings("export")
@click.option("--scheduler", metavar="ADDRESS|FILE", help="A running Dask cluster; default: workers here.")
@click.option("--overwrite", is_flag=True, help="Replace an output that is there.")
@options.quiet
@options.json_lines
@options.as_json
def command(
    masks: Path,
    out: str,
    kind: str | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    scheduler: str | None,
    **flags: bool,
) -> int:
    """Write the mask store MASKS to OUT; run again to resume.

    OUT ends in .tif (cloud optimized GeoTIFF), .ome.tif, .geojson, .parquet (GeoParquet), .gpkg, or is a
    folder for many GeoTIFFs with a VRT. Exit codes: 0 done; 2 bad input; 75 stopped early by a signal.
    """
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.engine.progress import Hooks  # noqa: PLC0415
    from unet_batch.products.export.config import ExportConfig  # noqa: PLC0415
    from unet_batch.products.export.run import export  # noqa: PLC0415

    overrides += (f"kind={kind}",) if kind else ()
    overrides += (f"scheduler={scheduler}",) if scheduler else ()
    overrides += ("overwrite=true",) if flags["overwrite"] else ()
    config = load(ExportConfig, config_file, overrides)
    with (
        display("export", quiet=flags["quiet"], json_lines=flags["json_lines"]) as shown,
        on_signals(shown.tell) as stop,
    ):
        summary = export(masks, out, config, hooks=Hooks(observe(shown), stop))
    if flags["json_lines"]:
        echo_line("summary", summary.to_json())
    elif flags["as_json"]:
        options.echo_json(summary)
    elif summary.finished:
        polygons = "" if summary.features is None else f", {summary.features:,} polygons"
        size = f"{options.count_of(summary.bytes)}B"
        click.echo(f"{out}: {summary.kind}{polygons}, {size}, {options.duration(summary.seconds)}")
    return 0 if summary.finished else ExitCode.STOPPED

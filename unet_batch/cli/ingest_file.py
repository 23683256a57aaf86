"""``unet-batch ingest SOURCE OUT``: one file."""

import time
from pathlib import Path

import click

from unet_batch.cli import options
from unet_batch.cli.progress import display, echo_line


@click.command()
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@options.settings("ingest")
@click.option("--overwrite", is_flag=True, help="Replace a Zarr store that is there.")
@options.quiet
@options.json_lines
@options.as_json
def command(
    source: str,
    out: Path,
    config_file: Path | None,
    overrides: tuple[str, ...],
    **flags: bool,
) -> None:
    """Read SOURCE (TIFF, GeoTIFF, OME-TIFF, SVS, PNG, JPEG, .npy) and write the OME-Zarr image OUT."""
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.ingestion.config import IngestConfig  # noqa: PLC0415
    from unet_batch.ingestion.run import ingest  # noqa: PLC0415

    overrides += ("overwrite=true",) if flags["overwrite"] else ()
    config = load(IngestConfig, config_file, overrides)
    began = time.monotonic()
    with display("ingest", quiet=flags["quiet"], json_lines=flags["json_lines"]) as shown:
        summary = ingest(
            source,
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
    for note in summary.notes:
        click.echo(f"note: {note}", err=True)
    size = " x ".join(map(str, summary.shape))
    click.echo(
        f"{out}: {summary.kind}, axes {summary.axes}, {size} px, {summary.channels} channels "
        f"{summary.dtype}, {options.duration(summary.seconds)}"
    )

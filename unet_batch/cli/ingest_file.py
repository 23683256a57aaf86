"""``unet-batch ingest SOURCE OUT``: one file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from unet_batch.cli import options
from unet_batch.cli.block_verb import BlockCall, block_verb

if TYPE_CHECKING:
    from unet_batch.ingestion.run import IngestSummary


@click.command()
@click.argument("source")
@click.argument("out", type=click.Path(path_type=Path))
@options.stored_axes
@options.series
@block_verb("ingest", without=("scheduler",))
def command(source: str, out: Path, axes: str | None, series: int | None, blocks: BlockCall) -> None:
    """Read SOURCE (TIFF, GeoTIFF, OME-TIFF, SVS, PNG, JPEG, .npy) and write the OME-Zarr image OUT."""
    from unet_batch.ingestion.config import IngestConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.ingestion.run import ingest  # noqa: PLC0415

    given = {"axes": axes, "series": series}
    config = blocks.config(
        IngestConfig, *(f"{key}={value}" for key, value in given.items() if value is not None)
    )
    with blocks.counter() as progress:
        summary = ingest(source, out, config, progress=progress)
    blocks.show("summary", summary.to_json(), lambda: _show(summary))


def _show(summary: "IngestSummary") -> None:
    for note in summary.notes:
        click.echo(f"note: {note}", err=True)
    size = " x ".join(map(str, summary.shape))
    click.echo(
        f"{summary.output}: {summary.kind}, axes {summary.axes}, {size} px, {summary.channels} channels "
        f"{summary.dtype}, {options.duration(summary.seconds)}"
    )

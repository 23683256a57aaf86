"""``unet-batch ingest SOURCE OUT``: one file."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from unet_batch.cli import options
from unet_batch.cli.block_verb import BlockCall, block_verb
from unet_batch.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from unet_batch.ingestion.run import IngestResult


@click.command()
@click.argument("source", nargs=-1, required=True)
@click.argument("out", type=click.Path(path_type=Path))
@options.stored_axes
@options.series
@click.option("--channels", "names", metavar="NAMES", help="Names of the channels, e.g. T1,T2,FLAIR.")
@click.option("--like", metavar="VOLUME", help="Sample volumes on the grid of this one.")
@block_verb("ingest")
def command(source: tuple[str, ...], out: Path, names: str | None, blocks: BlockCall, **given: object) -> int:
    """Read SOURCE (`unet-batch formats` lists what is read) and write the OME-Zarr image OUT.

    Several sources on one grid become the channels of one image. Run again to resume. Exit codes: 0 done; 2
    bad input; 75 stopped early by a signal.
    """
    from unet_batch.ingestion.config import IngestConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.ingestion.run import ingest  # noqa: PLC0415

    listed = None if names is None else names.split(",")
    config = blocks.config(IngestConfig, *options.told(channel_names=listed, **given))
    with blocks.hooks() as hooks:
        found = ingest(source, out, config, hooks=hooks)
    blocks.show("summary", found.to_json(), lambda: _show(found))
    return 0 if found.finished else ExitCode.STOPPED


def _show(summary: "IngestResult") -> None:
    if not summary.finished:
        return
    for note in summary.notes:
        click.echo(f"note: {note}", err=True)
    size = " x ".join(map(str, summary.shape))
    click.echo(
        f"{summary.output}: {summary.kind}, axes {summary.axes}, {size} px, {summary.channels} channels "
        f"{summary.dtype}, {options.no_data(summary.nodata)}{options.duration(summary.seconds)}"
    )

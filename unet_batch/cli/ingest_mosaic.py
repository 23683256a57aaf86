"""``unet-batch ingest mosaic SCENES... OUT``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from unet_batch.cli import exit_codes, options
from unet_batch.cli.block_verb import BlockCall, block_verb

if TYPE_CHECKING:
    from unet_batch.ingestion.mosaic.run import MosaicResult


@click.command()
@click.argument("scenes", nargs=-1)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--index", type=click.Path(path_type=Path), help="CSV, GeoJSON or GDAL tile index of scenes.")
@click.option("--remote", is_flag=True, help="Take scenes from the network that the index or a VRT names.")
@block_verb("mosaic", retry=True)
def command(scenes: tuple[str, ...], out: Path, index: Path | None, remote: bool, blocks: BlockCall) -> int:
    """Merge SCENES (rasters, a folder of them, or fields of a stage scan) into the OME-Zarr image OUT.

    Scenes on one grid are copied, others are warped onto it. Run again to resume. Exit codes: 0 done; 2 bad
    input; 3 some blocks failed and were set aside; 75 stopped early by a signal.
    """
    from unet_batch.ingestion.mosaic.config import MosaicConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.ingestion.mosaic.run import ingest_mosaic  # noqa: PLC0415

    config = blocks.config(MosaicConfig, *(["remote=true"] if remote else []))
    with blocks.hooks() as hooks:
        found = ingest_mosaic(scenes, out, config, index=index, retry_failed=blocks.retry_failed, hooks=hooks)
    blocks.show("summary", found.to_json(), lambda: _show(found))
    return exit_codes.of_blocks(found.blocks)


def _show(found: "MosaicResult") -> None:
    for note in (*found.notes, *found.damaged):
        click.echo(f"note: {note}", err=True)
    size = " x ".join(map(str, found.shape))
    blocks = ", ".join(f"{count} {status}" for status, count in found.blocks.items() if count)
    place = f", {found.georef.crs:.40}" if found.georef is not None else ""
    click.echo(
        f"{found.output}: {found.scenes} scenes, axes {found.axes}, {size} px, {found.channels} channels "
        f"{found.dtype}{place}; blocks: {blocks}; {options.duration(found.seconds)}"
    )

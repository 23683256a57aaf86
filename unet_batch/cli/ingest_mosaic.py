"""``unet-batch ingest mosaic SCENES... OUT``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from unet_batch.cli import exit_codes, options
from unet_batch.cli.progress import display, echo_line, observe
from unet_batch.cli.stopping import on_signals

if TYPE_CHECKING:
    from unet_batch.ingestion.mosaic.run import MosaicSummary


@click.command()
@click.argument("scenes", nargs=-1)
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--index", type=click.Path(path_type=Path), help="CSV, GeoJSON or GDAL tile index of scenes.")
@options.settings("mosaic")
@click.option("--scheduler", metavar="ADDRESS|FILE", help="A running Dask cluster; default: workers here.")
@click.option("--retry-failed", is_flag=True, help="Try blocks again that were set aside.")
@options.quiet
@options.json_lines
@options.as_json
def command(
    scenes: tuple[str, ...],
    out: Path,
    index: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    scheduler: str | None,
    **flags: bool,
) -> int:
    """Merge SCENES (rasters, a folder of them, or fields of a stage scan) into the OME-Zarr image OUT.

    Scenes on one grid are copied, others are warped onto it. Run again to resume. Exit codes: 0 done; 2 bad
    input; 3 some blocks failed and were set aside; 75 stopped early by a signal.
    """
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.engine.progress import Hooks  # noqa: PLC0415
    from unet_batch.ingestion.mosaic.config import MosaicConfig  # noqa: PLC0415
    from unet_batch.ingestion.mosaic.run import ingest_mosaic  # noqa: PLC0415

    overrides += (f"scheduler={scheduler}",) if scheduler else ()
    config = load(MosaicConfig, config_file, overrides)
    with (
        display("mosaic", quiet=flags["quiet"], json_lines=flags["json_lines"]) as shown,
        on_signals(shown.tell) as stop,
    ):
        hooks = Hooks(observe(shown), stop)
        found = ingest_mosaic(
            scenes, out, config, index=index, retry_failed=flags["retry_failed"], hooks=hooks
        )
    if flags["json_lines"]:
        echo_line("summary", found.to_json())
    elif flags["as_json"]:
        options.echo_json(found.to_json())
    else:
        _show(found)
    return exit_codes.of_blocks(found.blocks)


def _show(found: "MosaicSummary") -> None:
    for note in (*found.notes, *found.damaged):
        click.echo(f"note: {note}", err=True)
    size = " x ".join(map(str, found.shape))
    blocks = ", ".join(f"{count} {status}" for status, count in found.blocks.items() if count)
    place = f", {found.georef.crs:.40}" if found.georef is not None else ""
    click.echo(
        f"{found.output}: {found.scenes} scenes, axes {found.axes}, {size} px, {found.channels} channels "
        f"{found.dtype}{place}; blocks: {blocks}; {options.duration(found.seconds)}"
    )

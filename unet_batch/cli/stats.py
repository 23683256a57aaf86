"""``unet-batch stats``."""

from pathlib import Path

import click

from unet_batch.cli import options
from unet_batch.cli.exit_codes import ExitCode
from unet_batch.cli.progress import display, observe
from unet_batch.cli.stopping import on_signals

_SHOWN = 50  # rows


@click.command()
@click.argument("masks", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--zones", type=click.Path(path_type=Path), help="Polygons; a row per zone and class.")
@click.option("--reference", type=click.Path(path_type=Path), help="Zarr of true labels to compare with.")
@options.settings("stats")
@options.quiet
@options.json_lines
@options.as_json
def command(
    masks: Path,
    table: Path,
    zones: Path | None,
    reference: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    **flags: bool,
) -> int:
    """Write the areas of the classes of the mask store MASKS, in true units, to TABLE (.csv or .parquet)."""
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.engine.progress import Hooks  # noqa: PLC0415
    from unet_batch.products.preview.bar import quantity  # noqa: PLC0415
    from unet_batch.products.stats.config import StatsConfig  # noqa: PLC0415
    from unet_batch.products.stats.run import stats  # noqa: PLC0415

    config = load(StatsConfig, config_file, overrides)
    with (
        display("stats", quiet=flags["quiet"], json_lines=flags["json_lines"]) as shown,
        on_signals(shown.tell) as stop,
    ):
        hooks = Hooks(observe(shown), stop)
        found = stats(masks, table, config, zones=zones, reference=reference, hooks=hooks)
    if flags["as_json"]:
        options.echo_json(found)
    else:
        for row in found.rows[:_SHOWN]:
            dims = 2 if "area" in row else 3
            size = quantity(row["area" if dims == 2 else "volume"], row["unit"][:-1], dims)
            share = "-" if row["share"] is None else f"{100 * row['share']:6.2f} %"
            zone = f"{row['zone']:<20} " if "zone" in row else ""
            click.echo(f"{zone}{row['class']:<16} {row['pixels']:>15,} px {share:>9} {size:>16}")
        if len(found.rows) > _SHOWN:
            click.echo(f"... and {len(found.rows) - _SHOWN} more rows in {table}")
    return 0 if found.finished else ExitCode.STOPPED

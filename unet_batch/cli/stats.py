"""``unet-batch stats``."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unet_batch.cli.block_verb import BlockCall, block_verb
from unet_batch.cli.exit_codes import ExitCode

if TYPE_CHECKING:
    from unet_batch.products.stats.table import Row

_SHOWN = 50  # rows


@click.command()
@click.argument("masks", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--zones", type=click.Path(path_type=Path), help="Polygons; a row per zone and class.")
@click.option("--reference", type=click.Path(path_type=Path), help="Zarr of true labels to compare with.")
@block_verb("stats")
def command(masks: Path, table: Path, zones: Path | None, reference: Path | None, blocks: BlockCall) -> int:
    """Write the areas of the classes of the mask store MASKS, in true units, to TABLE (.csv or .parquet).

    Exit codes: 0 done; 2 bad input; 75 stopped early by a signal, run again to go on.
    """
    from unet_batch.products.stats.config import StatsConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.products.stats.run import stats  # noqa: PLC0415

    config = blocks.config(StatsConfig)
    with blocks.hooks() as hooks:
        found = stats(masks, table, config, zones=zones, reference=reference, hooks=hooks)
    blocks.show("summary", asdict(found), lambda: _show(found.rows, table))
    return ExitCode.DONE if found.finished else ExitCode.STOPPED


def _show(rows: "list[Row]", table: Path) -> None:
    from unet_batch.products.scale import quantity  # noqa: PLC0415 - imported when it runs

    outside = {}
    for row in rows[:_SHOWN]:
        dims = 2 if "area" in row else 3
        measured = row["area" if dims == 2 else "volume"]
        if measured is None:
            outside[row["zone"]] = f"{row['zone']:<20} outside the image: no pixel of it is in this zone"
            continue
        size = quantity(measured, row["unit"][:-1], dims)
        share = "-" if row["share"] is None else f"{100 * row['share']:6.2f} %"
        zone = f"{row['zone']:<20} " if "zone" in row else ""
        click.echo(f"{zone}{row['class']:<16} {row['pixels']:>15,} px {share:>9} {size:>16}")
    for line in outside.values():
        click.echo(line)
    if len(rows) > _SHOWN:
        click.echo(f"... and {len(rows) - _SHOWN} more rows in {table}")

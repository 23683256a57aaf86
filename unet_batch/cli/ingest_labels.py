"""``unet-batch ingest labels SOURCE OUT``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unet_batch.cli import options
from unet_batch.cli.block_verb import BlockCall, block_verb
from unet_batch.cli.exit_codes import ExitCode
from unet_batch.errors import ConfigError

if TYPE_CHECKING:
    from unet_batch.ingestion.labels.run import LabelsResult


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--map", "mapping", multiple=True, metavar="VALUE=CLASS", help="Class of a value; null: none.")
@click.option("--colours", type=click.Path(path_type=Path), help="CSV or YAML: the colour of each class.")
@options.stored_axes
@block_verb("labels")
def command(
    source: Path,
    out: Path,
    mapping: tuple[str, ...],
    colours: Path | None,
    axes: str | None,
    blocks: BlockCall,
) -> int:
    """Turn the label image SOURCE (PNG, TIFF, Zarr) into labels OUT that train and evaluate take.

    --map '255=1' reads a mask of 0 and 255; --map '0=ground,255=cell' names the classes too. --colours FILE
    reads a mask whose colours mean classes. OUT may be IMAGE/labels/NAME. Run again to resume. Exit codes:
    0 done; 2 bad input; 75 stopped early by a signal.
    """
    from unet_batch.ingestion.labels.config import LabelsConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.ingestion.labels.palette import read_colours  # noqa: PLC0415
    from unet_batch.ingestion.labels.run import ingest_labels  # noqa: PLC0415

    more = [] if axes is None else [f"axes={axes}"]
    more += [f"map={json.dumps(_mapping(mapping))}"] if mapping else []
    more += [f"colours={json.dumps(read_colours(colours))}"] if colours is not None else []
    config = blocks.config(LabelsConfig, *more)
    with blocks.hooks() as hooks:
        found = ingest_labels(source, out, config, hooks=hooks)
    blocks.show("summary", found.to_json(), lambda: _show(found))
    return 0 if found.finished else ExitCode.STOPPED


def _mapping(items: tuple[str, ...]) -> dict[str, int | str | None]:
    """``255=1`` and ``0=ground,255=cell`` as a mapping."""
    found: dict[str, int | str | None] = {}
    for item in (part for text in items for part in text.split(",")):
        value, sign, name = (word.strip() for word in item.partition("="))
        if not sign or not name or not value.removeprefix("-").isdecimal():
            raise ConfigError(f"--map {item}: write VALUE=CLASS, such as 255=1 or 255=cell")
        found[value] = int(name) if name.isdecimal() else None if name == "null" else name
    return found


def _show(found: "LabelsResult") -> None:
    if not found.finished:
        return
    for number, name in enumerate(found.classes):
        click.echo(f"{number:4d}  {name}: {options.count_of(found.pixels[name])} px")
    missing = [name for name in found.classes if not found.pixels[name]]
    if missing:
        click.echo(f"note: no pixel of {', '.join(missing)}", err=True)
    unlabelled = f"{options.count_of(found.unlabelled)} px unlabelled"
    click.echo(f"{found.output}: {unlabelled}, {options.duration(found.seconds)}")

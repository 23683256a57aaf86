"""``unet-batch objects``."""

from pathlib import Path

import click

from unet_batch.cli import options
from unet_batch.cli.exit_codes import ExitCode
from unet_batch.cli.progress import display, observe
from unet_batch.cli.stopping import on_signals


@click.command()
@click.argument("masks", type=click.Path(path_type=Path))
@click.argument("table", type=click.Path(path_type=Path))
@click.option("--image", type=click.Path(path_type=Path), help="Measure mean intensities of this image.")
@click.option("--labels", type=click.Path(path_type=Path), help="Store of the object number of each pixel.")
@options.settings("objects")
@options.quiet
@options.json_lines
@options.as_json
def command(
    masks: Path,
    table: Path,
    image: Path | None,
    labels: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    **flags: bool,
) -> int:
    """Find the connected objects of the mask store MASKS and write the Parquet TABLE; run again to go on.

    Where the masks have a class named border, interiors grow into it and every one is an instance. --labels
    may be IMAGE/labels/NAME: the objects then show with the image in viewers.
    """
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.engine.progress import Hooks  # noqa: PLC0415
    from unet_batch.products.objects.config import ObjectsConfig  # noqa: PLC0415
    from unet_batch.products.objects.run import objects  # noqa: PLC0415

    config = load(ObjectsConfig, config_file, overrides)
    with (
        display("objects", quiet=flags["quiet"], json_lines=flags["json_lines"]) as shown,
        on_signals(shown.tell) as stop,
    ):
        found = objects(masks, table, config, image=image, labels=labels, hooks=Hooks(observe(shown), stop))
    if flags["as_json"]:
        options.echo_json(found)
    elif found.finished:
        counts = ", ".join(f"{count:,} {name}" for name, count in found.objects.items())
        click.echo(f"{table}: {sum(found.objects.values()):,} objects ({counts})")
    return 0 if found.finished else ExitCode.STOPPED

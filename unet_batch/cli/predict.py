"""``unet-batch predict``."""

from dataclasses import asdict
from pathlib import Path

import click

from unet_batch.cli import exit_codes, options
from unet_batch.cli.block_verb import BlockCall, block_verb
from unet_batch.cli.status import show


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--model", "models", multiple=True, required=True, help="Checkpoint; several are averaged.")
@options.axes
@options.series
@options.pixel_size
@block_verb("predict", retry=True)
def command(
    image: Path, out: Path, models: tuple[str, ...], axes: str | None, blocks: BlockCall, **given: object
) -> int:
    """Segment IMAGE, Zarr or a file that `ingest` reads, into the mask store OUT; run again to resume.

    OUT may be IMAGE/labels/NAME: the masks then show with the image in viewers. Exit codes: 0 done; 2 bad
    input; 3 some blocks failed and were set aside; 75 stopped early by a signal.
    """
    from unet_batch.prediction.config import PredictConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.prediction.run import predict  # noqa: PLC0415

    config = blocks.config(PredictConfig, *options.told(**given))
    with blocks.hooks() as hooks:
        found = predict(image, out, models, config, axes=axes, retry_failed=blocks.retry_failed, hooks=hooks)
    blocks.show("status", asdict(found), lambda: show(found))
    return exit_codes.of_blocks(found.blocks)

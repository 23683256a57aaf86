"""``unet-batch predict-many``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unet_batch.cli import options
from unet_batch.cli.block_verb import BlockCall, block_verb
from unet_batch.cli.exit_codes import ExitCode
from unet_batch.cli.progress import observe

if TYPE_CHECKING:
    from unet_batch.prediction.many import Outcome

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("images", nargs=-1, required=True, type=PATH)
@click.option(
    "--out-dir", required=True, type=PATH, help="Folder of the mask stores, one of each image's name."
)
@click.option("--model", "models", multiple=True, required=True, help="Checkpoint; several are averaged.")
@options.axes
@options.pixel_size
@block_verb("predict", retry=True)
def command(
    images: tuple[Path, ...], out_dir: Path, models: tuple[str, ...], axes: str | None, **given: Any
) -> int:
    """Segment many IMAGES, largest first, with one pool of workers; run again to resume.

    IMAGES are stores, files that `ingest` reads, folders of them, or text files (.txt) with one path a line.
    Exit codes: 0 all done; 2 nothing could be done; 3 some images or blocks were set aside; 75 stopped early
    by a signal.
    """
    from unet_batch.prediction.config import PredictConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.prediction.many import Watch, predict_many  # noqa: PLC0415

    blocks: BlockCall = given.pop("blocks")
    config = blocks.config(PredictConfig, *options.told(**given))
    with blocks.shown() as (where, stop):
        watch = Watch(
            lambda image, event, progress: observe(where, f"{Path(image).name}: ")(event, progress), stop
        )
        outcomes = predict_many(
            images, out_dir, models, config, axes=axes, retry_failed=blocks.retry_failed, watch=watch
        )
    rows = [as_row(outcome) for outcome in outcomes]
    blocks.show("images", {"images": rows} if blocks.json_lines else rows, lambda: show_outcomes(outcomes))
    return exit_code(outcomes)


def exit_code(outcomes: "list[Outcome]") -> int:
    """What a person's script is told of them."""
    states = {outcome.state for outcome in outcomes}
    if states & {"incomplete", "waiting", "running", "busy"}:
        return ExitCode.STOPPED
    return ExitCode.INCOMPLETE if states & {"failed", "refused"} else ExitCode.DONE


def show_outcomes(outcomes: "list[Outcome]") -> None:
    """A line for each image."""
    width = max(len(Path(outcome.image).name) for outcome in outcomes)
    click.echo(f"{'image':<{width}} {'state':<10} {'blocks':>8} {'Mpx':>10} {'Mpx/s':>7}")
    for outcome in outcomes:
        found, name = outcome.status, f"{Path(outcome.image).name:<{width}}"
        if found is None:
            click.echo(f"{name} {outcome.state:<10} {outcome.error}".rstrip())
            continue
        rate = f"{found.pixels_per_second / 1e6:7.3g}" if found.pixels_per_second else f"{'-':>7}"
        failed = f"  {found.blocks['failed']} blocks were set aside" if found.blocks["failed"] else ""
        blocks, pixels = found.blocks["total"], found.pixels / 1e6
        click.echo(f"{name} {outcome.state:<10} {blocks:>8,} {pixels:>10,.4g} {rate}{failed}")


def as_row(outcome: "Outcome") -> dict[str, Any]:
    """An outcome as plain values."""
    row: dict[str, Any] = {"image": outcome.image, "out": outcome.out, "state": outcome.state}
    if outcome.status is None:
        return {**row, "error": outcome.error}
    found = outcome.status
    return {
        **row,
        "blocks": found.blocks,
        "pixels": found.pixels,
        "pixels_per_second": found.pixels_per_second,
    }

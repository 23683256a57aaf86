"""``unet-batch predict-many``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unet_batch.cli import options
from unet_batch.cli.exit_codes import ExitCode
from unet_batch.cli.progress import Display, display, echo_line
from unet_batch.cli.stopping import on_signals

if TYPE_CHECKING:
    from unet_batch.engine.progress import Progress
    from unet_batch.prediction.many import Outcome
    from unet_batch.schedule.events import Event

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("images", nargs=-1, required=True, type=PATH)
@click.option(
    "--out-dir", required=True, type=PATH, help="Folder of the mask stores, one of each image's name."
)
@click.option("--model", "models", multiple=True, required=True, help="Checkpoint; several are averaged.")
@options.settings("predict")
@options.axes
@click.option("--scheduler", metavar="ADDRESS|FILE", help="A running Dask cluster; default: workers here.")
@click.option("--retry-failed", is_flag=True, help="Try blocks again that were set aside.")
@options.quiet
@options.json_lines
@options.as_json
def command(
    images: tuple[Path, ...],
    out_dir: Path,
    models: tuple[str, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    **flags: Any,
) -> int:
    """Segment many Zarr IMAGES, largest first, with one pool of workers; run again to resume.

    IMAGES are stores, folders of stores, or text files (.txt) with one path a line. Exit codes: 0 all done;
    2 nothing could be done; 3 some images or blocks were set aside; 75 stopped early by a signal.
    """
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.prediction.config import PredictConfig  # noqa: PLC0415
    from unet_batch.prediction.many import Watch, predict_many  # noqa: PLC0415

    overrides += (f"scheduler={json.dumps(flags['scheduler'])}",) if flags["scheduler"] else ()
    config = load(PredictConfig, config_file, overrides)
    with (
        display("predict", quiet=flags["quiet"], json_lines=flags["json_lines"]) as shown,
        on_signals(shown.tell) as stop,
    ):
        watch = Watch(lambda image, event, progress: _observe(shown, image, event, progress), stop)
        outcomes = predict_many(
            images,
            out_dir,
            models,
            config,
            axes=flags["axes"],
            retry_failed=flags["retry_failed"],
            watch=watch,
        )
    _show(outcomes, **flags)
    return _code(outcomes)


def _observe(shown: Display, image: str, event: "Event | None", progress: "Progress") -> None:
    name = Path(image).name
    if progress.message:
        shown.tell(f"{name}: {progress.message}")
        return
    if event is not None and event.status == "failed":
        shown.tell(f"{name}: block {event.number} was set aside: {event.error}")
    shown.update(progress.blocks_done, progress.blocks_total, progress.pixels, progress.seconds)


def _code(outcomes: "list[Outcome]") -> int:
    states = {outcome.state for outcome in outcomes}
    if states & {"incomplete", "waiting", "running", "busy"}:
        return ExitCode.STOPPED
    return ExitCode.INCOMPLETE if states & {"failed", "refused"} else ExitCode.DONE


def _show(outcomes: "list[Outcome]", **flags: Any) -> None:
    if flags["json_lines"] or flags["as_json"]:
        rows = [_row(outcome) for outcome in outcomes]
        if flags["json_lines"]:
            echo_line("images", {"images": rows})
        else:
            options.echo_json(rows)
        return
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


def _row(outcome: "Outcome") -> dict[str, Any]:
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

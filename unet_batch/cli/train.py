"""``unet-batch train``; under torchrun, ``-m unet_batch train``, on every rank."""

import os
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unet_batch.cli import options
from unet_batch.cli.exit_codes import ExitCode
from unet_batch.cli.progress import display, echo_line, of_step
from unet_batch.cli.stopping import on_signals
from unet_batch.errors import RankError, UnetBatchError, one_line
from unet_batch.extras import needed

if TYPE_CHECKING:
    from unet_batch.training.config import TrainConfig
    from unet_batch.training.run import TrainResult


@click.command()
@options.settings("train")
@click.option("--show-batch", type=click.IntRange(min=1), metavar="N", help="Draw N samples and end.")
@click.option("--overwrite", is_flag=True, help="Begin anew where a finished training is there.")
@options.quiet
@options.json_lines
@options.as_json
def command(
    config_file: Path | None,
    overrides: tuple[str, ...],
    show_batch: int | None,
    overwrite: bool,
    **flags: bool,
) -> int:
    """Train a network from labelled Zarr stores, as --config says; run again to go on.

    --show-batch N writes OUT/batch.png, what the network would see of N samples, and trains nothing.

    Exit codes: 0 done; 2 bad input; 75 stopped early by a signal or the file OUT/stop. Under torchrun, which
    would start the ranks again, it is 0 then: OUT/done.json is there once the training is done.
    """
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.training.config import TrainConfig  # noqa: PLC0415

    anew = ("run.overwrite=true",) if overwrite else ()
    config = load(TrainConfig, config_file, (*overrides, *anew))
    if show_batch:
        _draw(config, show_batch)
        return 0
    first = int(os.environ.get("RANK", "0")) == 0
    try:
        result = _train(config, first=first, **flags)
    except UnetBatchError as error:
        if first or isinstance(error, RankError):
            raise
        return ExitCode.REFUSED  # the first rank has said why
    except Exception as error:
        if "RANK" not in os.environ:
            raise
        raise _dead_rank(config.run.out, error) from None
    if first:
        _show(result, **flags)
    return 0 if result.finished or "TORCHELASTIC_RUN_ID" in os.environ else ExitCode.STOPPED


def _dead_rank(out: Path, error: Exception) -> RankError:
    """One line for many terminals in one; the traceback goes to a file of its own."""
    rank, count = os.environ["RANK"], os.environ.get("WORLD_SIZE", "?")
    path = out / f"rank{rank}.traceback"
    out.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    return RankError(
        f"rank {rank} of {count} died of {one_line(error)}; its traceback is in {path}. The run goes on from "
        "its last state when it is started again"
    )


def _train(config: "TrainConfig", *, first: bool, **flags: bool) -> "TrainResult":
    from unet_batch.training.hooks import Hooks, Progress  # noqa: PLC0415 - imported when it runs
    from unet_batch.training.run import train  # noqa: PLC0415 - imports torch

    quiet = flags["quiet"] or not first
    with display("train", quiet=quiet, json_lines=flags["json_lines"]) as shown:

        def observe(progress: Progress) -> None:
            if progress.message:
                shown.notify(progress.message)
            else:
                shown.update(of_step(progress))

        with on_signals(shown.notify, "ending after this step") as stop:
            return train(config, hooks=Hooks(observe, stop))


def _draw(config: "TrainConfig", count: int) -> None:
    with needed("train", "a picture of samples"):
        from unet_batch.training.batch_sheet import show_batch  # noqa: PLC0415 - imports torch

    path = show_batch(config, count)
    click.echo(f"{path}: {count} samples as the network would see them")


def _show(result: "TrainResult", **flags: bool) -> None:
    if flags["json_lines"]:
        echo_line("result", asdict(result))
        return
    if flags["as_json"]:
        options.echo_json(result)
        return
    early = {"patience": " early, without a better score", "hook": " early, as asked"}.get(result.ended, "")
    state = f"done{early}" if result.finished else "stopped; run again to go on"
    click.echo(f"{result.out}: {state}, {result.step} steps in {options.duration(result.seconds)}")
    for part, scores in (("validation", result.validation), ("test", result.test)):
        if scores:
            click.echo(f"  {part}, best network (step {result.best_step}):")
        for name, value in scores.items():
            click.echo(f"    {name:<24} {value:.4f}")

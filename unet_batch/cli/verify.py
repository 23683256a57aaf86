"""``unet-batch verify``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unet_batch.cli.block_verb import BlockCall, block_verb
from unet_batch.cli.exit_codes import ExitCode
from unet_batch.cli.progress import display, observe, of_blocks

if TYPE_CHECKING:
    from unet_batch.prediction.verify import Verification


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--repair", is_flag=True, help="Compute damaged blocks again.")
@click.option("--untiled", type=click.IntRange(min=0), default=0, metavar="N", help="Compare N windows.")
@click.option(
    "--image", type=click.Path(path_type=Path), help="Image of OUT; default: IMAGE of IMAGE/labels/OUT."
)
@click.option("--model", "models", multiple=True, help="Checkpoint of OUT; several as they were averaged.")
@block_verb("verify", "predict", overwrites=False)
def command(
    out: Path, repair: bool, untiled: int, image: Path | None, models: tuple[str, ...], blocks: BlockCall
) -> int:
    """Re-read every block of the mask store OUT and compare its checksum.

    Exit codes: 0 all blocks are done and as they were written; 2 bad input; 3 damage was found, blocks are
    pending or failed, or an untiled pass differs by more than rounding where the network is exact.

    --untiled N also computes N random windows in one untiled pass each and keeps the largest difference to
    the tiled answer in the store. For that and for --repair, name the image and the checkpoints: what the
    store says of them, of devices and of a cluster is not followed.
    """
    from unet_batch.prediction.config import PredictConfig  # noqa: PLC0415 - imported when it runs

    if untiled:
        _refuse_unknown(out, image, models)
    source: dict[str, Any] = {"image": image, "model": models, "config": blocks.config(PredictConfig)}
    found = _verified(out, repair, source, blocks)
    values: dict[str, object] = {
        "ok": found.whole,
        "checked": found.checked,
        "pending": found.pending,
        "failed": found.failed,
        "finished": found.finished,
        "bad_blocks": [list(index) for index in found.bad_blocks],
        "bad_levels": list(found.bad_levels),
        "repaired": found.repaired,
        "untiled_max_abs_diff": None,
    }
    if untiled:
        from unet_batch.prediction.untiled import compare_untiled  # noqa: PLC0415 - imports torch

        difference = compare_untiled(out, untiled, **source)
        values["untiled_windows"] = difference.windows
        values["untiled_max_abs_diff"] = difference.untiled_max_abs_diff
        values["untiled_label_diff"] = difference.untiled_label_diff
        values["untiled_fault"] = difference.fault or None
        values["ok"] = found.whole and not difference.fault
    blocks.show("summary", values, lambda: _show(out, values))
    return ExitCode.DONE if values["ok"] else ExitCode.INCOMPLETE


def _refuse_unknown(out: Path, image: Path | None, models: tuple[str, ...]) -> None:
    """Raise what ``compare_untiled`` would, before every block is read."""
    from unet_batch.prediction.remade import source  # noqa: PLC0415 - imported when it runs
    from unet_batch.store.masks import Masks  # noqa: PLC0415

    source(Masks.open(out), image, models)


def _verified(out: Path, repair: bool, source: dict[str, Any], blocks: BlockCall) -> "Verification":
    from unet_batch.engine.progress import Hooks, Progress  # noqa: PLC0415 - imported when it runs
    from unet_batch.prediction.verify import verify  # noqa: PLC0415

    began = time.monotonic()
    with display("verify", quiet=blocks.quiet, json_lines=blocks.json_lines) as shown:

        def watch(done: int, total: int) -> None:
            shown.update(of_blocks(Progress(done, total, 0, time.monotonic() - began)))

        found = verify(
            out,
            repair=repair,
            hooks=Hooks(observe(shown)),
            # The last one comes when all is well: where a repair is refused, that is the only line.
            watch=lambda done, total: watch(done, total) if done < total else None,
            **source,
        )
        watch(found.checked, found.checked)
        return found


def _show(out: Path, values: dict[str, object]) -> None:
    for key, value in values.items():
        if value is not None:
            click.echo(f"{key:>20}: {value}")
    if not (values["finished"] or values["pending"]):
        click.echo(f"{out}: its coarse levels are not written yet; run predict again", err=True)
    for state, cure in (("pending", "run predict again"), ("failed", "run predict with --retry-failed")):
        if count := values[state]:
            click.echo(f"{out}: {count} blocks are {state}, so not checked; {cure}", err=True)

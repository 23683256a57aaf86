"""``unet-batch verify``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unet_batch.cli import options
from unet_batch.cli.exit_codes import ExitCode
from unet_batch.cli.progress import display, echo_line, observe, of_blocks

if TYPE_CHECKING:
    from unet_batch.prediction.verify import Verification


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--repair", is_flag=True, help="Compute damaged blocks again.")
@click.option("--untiled", type=click.IntRange(min=0), default=0, metavar="N", help="Compare N windows.")
@options.quiet
@options.json_lines
@options.as_json
def command(out: Path, repair: bool, untiled: int, **flags: bool) -> int:
    """Re-read every block of the mask store OUT and compare its checksum.

    Exit codes: 0 all blocks are done and as they were written; 2 bad input; 3 damage was found, or blocks
    are pending or failed.

    --untiled N also computes N random windows in one untiled pass each and keeps the largest difference to
    the tiled answer in the store.
    """
    found = _verified(out, repair=repair, quiet=flags["quiet"], json_lines=flags["json_lines"])
    values: dict[str, object] = {
        "ok": found.whole,
        "checked": found.checked,
        "pending": found.pending,
        "failed": found.failed,
        "bad_blocks": [list(index) for index in found.bad_blocks],
        "bad_levels": list(found.bad_levels),
        "repaired": found.repaired,
        "untiled_max_abs_diff": None,
    }
    if untiled:
        from unet_batch.prediction.untiled import compare_untiled  # noqa: PLC0415 - imports torch

        difference = compare_untiled(out, untiled)
        values["untiled_windows"] = difference.windows
        values["untiled_max_abs_diff"] = difference.untiled_max_abs_diff
        values["untiled_label_diff"] = difference.untiled_label_diff
    if flags["json_lines"]:
        echo_line("summary", values)
    elif flags["as_json"]:
        options.echo_json(values)
    else:
        for key, value in values.items():
            if value is not None:
                click.echo(f"{key:>20}: {value}")
        for state, cure in (("pending", "run predict again"), ("failed", "run predict with --retry-failed")):
            if count := values[state]:
                click.echo(f"{out}: {count} blocks are {state}, so not checked; {cure}", err=True)
    return ExitCode.DONE if found.whole else ExitCode.INCOMPLETE


def _verified(out: Path, *, repair: bool, quiet: bool, json_lines: bool) -> "Verification":
    from unet_batch.engine.progress import Hooks, Progress  # noqa: PLC0415 - imported when it runs
    from unet_batch.prediction.verify import verify  # noqa: PLC0415

    began = time.monotonic()
    with display("verify", quiet=quiet, json_lines=json_lines) as shown:
        return verify(
            out,
            repair=repair,
            hooks=Hooks(observe(shown)),
            watch=lambda done, total: shown.update(
                of_blocks(Progress(done, total, 0, time.monotonic() - began))
            ),
        )

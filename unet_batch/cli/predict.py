"""``unet-batch predict``."""

import json
from dataclasses import asdict
from pathlib import Path

import click

from unet_batch.cli import exit_codes, options
from unet_batch.cli.progress import display, echo_line, observe
from unet_batch.cli.status import show
from unet_batch.cli.stopping import on_signals


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--model", "models", multiple=True, required=True, help="Checkpoint; several are averaged.")
@options.settings("predict")
@options.axes
@click.option("--scheduler", metavar="ADDRESS|FILE", help="A running Dask cluster; default: workers here.")
@click.option("--retry-failed", is_flag=True, help="Try blocks again that were set aside.")
@options.quiet
@options.json_lines
@options.as_json
def command(
    image: Path,
    out: Path,
    models: tuple[str, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    axes: str | None,
    scheduler: str | None,
    **flags: bool,
) -> int:
    """Segment the Zarr IMAGE into the mask store OUT; run again to resume.

    OUT may be IMAGE/labels/NAME: the masks then show with the image in viewers. Exit codes: 0 done; 2 bad
    input; 3 some blocks failed and were set aside; 75 stopped early by a signal.
    """
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.engine.progress import Hooks  # noqa: PLC0415
    from unet_batch.prediction.config import PredictConfig  # noqa: PLC0415
    from unet_batch.prediction.run import predict  # noqa: PLC0415

    overrides += (f"scheduler={json.dumps(scheduler)}",) if scheduler else ()
    config = load(PredictConfig, config_file, overrides)
    with (
        display("predict", quiet=flags["quiet"], json_lines=flags["json_lines"]) as shown,
        on_signals(shown.tell) as stop,
    ):
        hooks = Hooks(observe(shown), stop)
        found = predict(
            image, out, models, config, axes=axes, retry_failed=flags["retry_failed"], hooks=hooks
        )
    if flags["json_lines"]:
        echo_line("status", asdict(found))
    else:
        show(found, as_json=flags["as_json"])
    return exit_codes.of_blocks(found.blocks)

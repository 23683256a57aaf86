"""``unet-batch report``."""

from pathlib import Path

import click

from unet_batch.cli import options


@click.command()
@click.argument("masks", type=click.Path(path_type=Path))
@click.argument("page", type=click.Path(path_type=Path))
@click.option(
    "--image", type=click.Path(path_type=Path), help="Image below the masks; default: MASKS is a label of it."
)
@options.settings("report")
@options.as_json
def command(
    masks: Path,
    page: Path,
    image: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Write one self-contained HTML PAGE about the mask store MASKS, also while a run is writing it."""
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.products.report.config import ReportConfig  # noqa: PLC0415
    from unet_batch.products.report.run import report  # noqa: PLC0415

    done = report(masks, page, load(ReportConfig, config_file, overrides), image=image)
    options.show(done, f"{done.path}: {done.bytes / 2**20:.2g} MiB, {done.state}", as_json=as_json)

"""``unet-batch run``: files to masks and products in one call, whichever of them is still missing."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unet_batch.cli import options
from unet_batch.cli.block_verb import BlockCall, block_verb
from unet_batch.cli.exit_codes import ExitCode
from unet_batch.cli.predict_many import as_row, exit_code, show_outcomes
from unet_batch.cli.progress import observe
from unet_batch.errors import InputError, UnetBatchError

if TYPE_CHECKING:
    from unet_batch.engine.progress import Hooks
    from unet_batch.prediction.many import Outcome

PATH = click.Path(path_type=Path)
PRODUCTS = {
    "geojson": ".geojson",
    "gpkg": ".gpkg",
    "objects": ".objects.parquet",
    "ome-tiff": ".ome.tif",
    "parquet": ".parquet",
    "preview": ".png",
    "report": ".html",
    "tiff": ".tif",
}


@click.command()
@click.argument("source", type=PATH)
@click.argument("out", type=PATH)
@click.option("--model", "models", multiple=True, required=True, help="Checkpoint; several are averaged.")
@click.option(
    "--products", default="report", metavar="NAMES", help=f"Of {', '.join(PRODUCTS)}; default: report."
)
@options.axes
@options.pixel_size
@block_verb("predict", overwrites=False, retry=True)
def command(source: Path, out: Path, models: tuple[str, ...], axes: str | None, **given: Any) -> int:
    """Segment SOURCE, a file, Zarr image or folder of them, and write masks and products into the folder OUT.

    Each image has its masks in OUT/NAME.zarr and its products beside them. Run again to go on: what is there
    is not made again. Exit codes: 0 all done; 2 bad input; 3 some images, blocks or products were set aside;
    75 stopped early by a signal.
    """
    from unet_batch.prediction.config import PredictConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.prediction.many import Watch, predict_many  # noqa: PLC0415

    wanted, blocks = _wanted(given.pop("products")), given.pop("blocks")
    config = blocks.config(PredictConfig, *options.told(**given))
    with blocks.shown() as (where, stop):
        watch = Watch(
            lambda image, event, progress: observe(where, f"{Path(image).name}: ")(event, progress), stop
        )
        retry = blocks.retry_failed
        outcomes = predict_many([source], out, models, config, axes=axes, retry_failed=retry, watch=watch)
    made, faults = _made(outcomes, wanted, blocks)
    rows = [as_row(one) | {"products": made.get(one.image, [])} for one in outcomes]

    def show() -> None:
        show_outcomes(outcomes)
        for paths in made.values():
            for path in paths:
                click.echo(path)

    blocks.show("images", {"images": rows} if blocks.json_lines else rows, show)
    for fault in faults:
        click.echo(f"error: {fault}", err=True)
    return exit_code(outcomes) or (ExitCode.INCOMPLETE if faults else ExitCode.DONE)


def _wanted(names: str) -> list[str]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if unknown := [name for name in wanted if name not in PRODUCTS]:
        raise InputError(f"--products: {unknown[0]} is none of {', '.join(PRODUCTS)}; mend it")
    return wanted


def _made(
    outcomes: "list[Outcome]", wanted: list[str], blocks: BlockCall
) -> tuple[dict[str, list[str]], list[str]]:
    """Paths of the products of each image that is done, and what could not be made."""
    made: dict[str, list[str]] = {}
    faults = []
    with blocks.hooks() as hooks:
        for one in outcomes:
            for name in wanted if one.state == "done" else ():
                path = Path(one.out.removesuffix(".zarr") + PRODUCTS[name])
                try:
                    if not path.exists():
                        _make(name, one, path, hooks)
                except UnetBatchError as error:
                    faults.append(str(error))
                else:
                    made.setdefault(one.image, []).append(str(path))
    return made, faults


def _make(name: str, one: "Outcome", path: Path, hooks: "Hooks") -> None:
    if name == "report":
        from unet_batch.products.report.run import report  # noqa: PLC0415 - imported when it runs

        report(one.out, path, image=one.image)
    elif name == "preview":
        from unet_batch.products.preview.run import preview  # noqa: PLC0415

        preview([one.image, one.out], path)
    elif name == "objects":
        from unet_batch.products.objects.run import objects  # noqa: PLC0415

        objects(one.out, path, image=one.image, hooks=hooks)
    else:
        from unet_batch.products.export.config import ExportConfig  # noqa: PLC0415
        from unet_batch.products.export.run import export  # noqa: PLC0415

        export(one.out, path, ExportConfig(image=one.image), hooks=hooks)

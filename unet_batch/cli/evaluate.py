"""``unet-batch evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unet_batch.cli import options

if TYPE_CHECKING:
    from unet_batch.products.evaluate import Evaluation


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("truth", type=click.Path(path_type=Path))
@click.option("--ignore", type=int, default=None, help="Truth value that is left out; default: no data.")
@click.option(
    "--label-kind", type=click.Choice(["classes", "instances"]), default="classes", help="What TRUTH holds."
)
@options.as_json
def command(out: Path, truth: Path, ignore: int | None, label_kind: Any, as_json: bool) -> None:
    """Compare the mask store OUT with the labels in the Zarr TRUTH, streamed.

    --label-kind instances compares instances with instance numbers: average precision, V-Rand, V-Info. For
    folders of stores use evaluate-many.
    """
    from unet_batch.products.evaluate import evaluate  # noqa: PLC0415 - imported when it runs

    found = evaluate(out, truth, ignore=ignore, label_kind=label_kind)
    if as_json:
        options.echo_json(found.to_json())
        return
    click.echo(f"{'class':<20} {'dice':>7} {'iou':>7} {'precis.':>7} {'recall':>7} {'pixels':>14}")
    for name, one in found.classes.items():
        scores = " ".join(_score(s) for s in (one.dice, one.iou, one.precision, one.recall))
        click.echo(f"{name:<20} {scores} {one.pixels:>14,}")
    click.echo(f"{'mean':<20} {_score(found.mean_dice)} {_score(found.mean_iou)}")
    click.echo(f"accuracy {_score(found.accuracy).strip()} over {found.pixels:,} pixels", nl=False)
    click.echo(f"; {found.ignored:,} left out by the truth, {found.unpredicted:,} without a prediction")
    if found.objects is not None:
        true, objects = found.objects
        click.echo(f"{objects:,} instances found, {true:,} in the truth")
        click.echo("  ".join(f"{name} {value:.4f}" for name, value in found.instances.items()))
    if found.missing:
        click.echo(_missing(found))


def _missing(found: "Evaluation") -> str:
    open_pixels = (
        f"; {found.ignored:,} pixels hold the value that is left out: if that is a class, "
        "make labels of it with `unet-batch ingest labels TRUTH NEW.zarr --map '255=1'`"
        if found.ignored
        else ""
    )
    return (
        f"the truth has no pixel of {', '.join(found.missing)}: nothing tells how well it is found, and it "
        f"is in no mean{open_pixels}"
    )


def _score(value: float | None) -> str:
    return f"{'-':>7}" if value is None else f"{value:7.4f}"

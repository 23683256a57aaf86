"""``unet-batch evaluate-many``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unet_batch.cli import options

if TYPE_CHECKING:
    from unet_batch.products.evaluate_many import EvaluationTable, Spread

PATH = click.Path(path_type=Path)
_SHOWN = ("mean_dice", "mean_iou", "accuracy", "ap50", "mean_ap", "v_rand")


@click.command()
@click.argument("masks", type=PATH)
@click.argument("truths", type=PATH)
@click.option("--ignore", type=int, default=None, help="Truth value that is left out; default: no data.")
@click.option(
    "--label-kind", type=click.Choice(["classes", "instances"]), default="classes", help="What TRUTHS hold."
)
@click.option("--csv", "table", type=PATH, help="Write all scores of every image there.")
@options.as_json
def command(
    masks: Path, truths: Path, ignore: int | None, label_kind: Any, table: Path | None, as_json: bool
) -> None:
    """Compare the mask stores in the folder MASKS with the labels of their names in the folder TRUTHS.

    Prints a line an image, then mean, least and largest, and the 95 % interval of the mean by bootstrap.
    """
    from unet_batch.products.evaluate_many import evaluate_many  # noqa: PLC0415 - imported when it runs

    found = evaluate_many(masks, truths, ignore, label_kind)
    if table is not None:
        found.write(table)
    if as_json:
        options.echo_json(found.to_json())
        return
    _show(found)


def _show(found: "EvaluationTable") -> None:
    spreads, rows = found.spreads, found.scores
    shown = [name for name in _SHOWN if name in spreads]
    width = max(len(name) for name in (*rows, "95 % interval"))
    click.echo(" ".join([f"{'image':<{width}}", *(f"{name:>16}" for name in shown)]))
    for name, scores in rows.items():
        cells = (f"{scores[one]:16.4f}" if one in scores else f"{'-':>16}" for one in shown)
        click.echo(" ".join([f"{name:<{width}}", *cells]))
    for title, of in (
        ("mean", lambda one: f"{one.mean:.4f}"),
        ("range", lambda one: f"{one.least:.4f}-{one.largest:.4f}"),
        ("95 % interval", _interval),
    ):
        click.echo(" ".join([f"{title:<{width}}", *(f"{of(spreads[one]):>16}" for one in shown)]))
    for name, one in found.images.items():
        if one.missing:
            click.echo(f"note: {name}: the truth has no pixel of {', '.join(one.missing)}", err=True)


def _interval(one: "Spread") -> str:
    return "-" if one.interval is None else f"{one.interval[0]:.4f}-{one.interval[1]:.4f}"

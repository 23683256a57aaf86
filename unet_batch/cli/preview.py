"""``unet-batch preview``."""

import re
from pathlib import Path

import click

from unet_batch.cli import options

_RANGE = re.compile(r"(\d+)(?::(\d+))?")


def _ranges(_ctx: click.Context, _param: click.Parameter, text: str | None) -> list[tuple[int, int]] | None:
    """``12,0:512,64:576`` as ranges; a number alone is one pixel."""
    if text is None:
        return None
    found = [_RANGE.fullmatch(part.strip()) for part in text.split(",")]
    if not all(found):
        raise click.BadParameter("write START:STOP for y and x, as in 0:512,64:576")
    return [(int(one[1]), int(one[2] or int(one[1]) + 1)) for one in found if one]


@click.command()
@click.argument("stores", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="STORE...")
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--level", type=click.IntRange(min=0), help="Show this level pixel by pixel.")
@click.option("--box", callback=_ranges, metavar="Y0:Y1,X0:X1", help="Show this part; in pixels of level 0.")
@options.settings("preview")
@options.as_json
def command(
    stores: tuple[Path, ...],
    out: Path,
    level: int | None,
    box: list[tuple[int, int]] | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Draw an image and masks, or either, into the PNG file OUT, with scale bar and legend.

    Masks at IMAGE/labels/NAME are shown over that image; give the image of others too. In stacks the middle
    is shown; --box 12,0:512,0:512 shows plane 12.
    """
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.products.preview.config import PreviewConfig  # noqa: PLC0415
    from unet_batch.products.preview.run import preview  # noqa: PLC0415

    done = preview(stores, out, load(PreviewConfig, config_file, overrides), level=level, box=box)
    text = f"{done.path}: {done.width} x {done.height}, one pixel for {done.pixels:.3g} of the masks"
    options.show(done, text, as_json=as_json)

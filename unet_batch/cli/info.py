"""``unet-batch info``."""

from pathlib import Path

import click

from unet_batch.cli import options

_WORD = 24


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@options.axes
@options.series
@options.as_json
def command(path: Path, axes: str | None, series: int | None, as_json: bool) -> None:
    """Print what the image at PATH (a foreign file or Zarr) is, without reading its pixels."""
    from unet_batch.config import validate  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.formats.config import ReadConfig  # noqa: PLC0415
    from unet_batch.ingestion.info import info  # noqa: PLC0415

    found = info(path, validate(ReadConfig, {"axes": axes, "series": series}, where="--axes"))
    if as_json:
        options.echo_json(found)
        return
    for key, value in found.items():
        if value not in (None, [], {}):
            click.echo(f"{key:>14}: {_text(value)}")


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(one)}" for key, one in value.items())
    if isinstance(value, list):
        return ("; " if isinstance(value[0], str) and len(value[0]) > _WORD else ", ").join(map(_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)

"""Options that several verbs share."""

import json
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

CallT = TypeVar("CallT", bound=Callable[..., Any])

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
axes = click.option("--axes", metavar="LETTERS", help="Axes of a plain Zarr array, e.g. zyx or cyx.")
stored_axes = click.option(
    "--axes", metavar="LETTERS", help="Axes of the file as they are stored, e.g. zyx or yxc."
)
series = click.option(
    "--series",
    "--scene",
    metavar="N",
    type=click.IntRange(0),
    help="Which image of a file; default: the largest.",
)
pixel_size = click.option(
    "--pixel-size",
    metavar="MICROMETRES",
    type=float,
    help="Side of a pixel, where the image says nothing or wrong.",
)
quiet = click.option("--quiet", "-q", is_flag=True, help="No progress.")
json_lines = click.option(
    "--json-lines", is_flag=True, help="Progress as JSON lines on stdout, for batch logs."
)


def settings(kind: str) -> Callable[[CallT], CallT]:
    """``--config`` and ``--set`` of a verb; ``unet-batch schema KIND`` prints what they may say."""

    def wrap(function: CallT) -> CallT:
        option = click.option(
            "--set",
            "overrides",
            multiple=True,
            metavar="KEY=VALUE",
            help=f"Override one setting; see `unet-batch schema {kind}`.",
        )
        path = click.Path(path_type=Path)
        return option(
            click.option("--config", "config_file", type=path, help="YAML with settings.")(function)
        )

    return wrap


def told(**values: object) -> tuple[str, ...]:
    """Options as settings: ``key=value`` of those that were given."""
    return tuple(f"{key}={json.dumps(value)}" for key, value in values.items() if value is not None)


def echo_json(value: Any) -> None:
    """Print a dataclass or plain values as JSON."""
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    click.echo(json.dumps(plain, indent=2, default=str))


def show(value: Any, text: str, *, as_json: bool) -> None:
    """Print a dataclass as JSON where asked for, else ``text``; what it remarks goes to stderr."""
    if value.remark:
        click.echo(value.remark, err=True)
    if as_json:
        echo_json(value)
    else:
        click.echo(text)


def count_of(number: float) -> str:
    """A number with a unit prefix: 3.1 M."""
    for prefix in ("", "k", "M", "G", "T"):
        if abs(number) < 1000:
            return f"{number:.3g} {prefix}".rstrip()
        number /= 1000
    return f"{number:.3g} P"


def no_data(nodata: object) -> str:
    """Values without data, to stand in a list: ``no data: -9999 or nan, ``; nothing where there is none."""
    values = nodata if isinstance(nodata, tuple | list) else () if nodata is None else (nodata,)
    return f"no data: {' or '.join(f'{value:g}' for value in values)}, " if values else ""


def duration(seconds: float) -> str:
    """Seconds as 12 s, 3:05 min or 2.5 h."""
    if seconds < 60:
        return f"{seconds:.3g} s"
    if seconds < 3600:
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} min"
    return f"{seconds / 3600:.3g} h"

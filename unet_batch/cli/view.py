"""``unet-batch view``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unet_batch.cli import options

if TYPE_CHECKING:
    from unet_batch.viewing.server import Server

_SIZE = (1600, 1000)


def _size(_ctx: click.Context, _param: click.Parameter, text: str | None) -> tuple[int, int]:
    """``1600x1000`` as width and height."""
    if text is None:
        return _SIZE
    width, _, height = text.partition("x")
    if not (
        width.isdecimal() and height.isdecimal() and 64 <= int(width) <= 8192 and 64 <= int(height) <= 8192
    ):
        raise click.BadParameter("write WIDTHxHEIGHT in pixels, 64 to 8192 each, as in 1600x1000")
    return int(width), int(height)


@click.command()
@click.argument("stores", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="STORE...")
@click.option("--difference", is_flag=True, help="Mark where the last two masks of classes differ.")
@click.option("--screenshot", type=click.Path(path_type=Path), metavar="PNG", help="Draw the page and end.")
@click.option("--size", callback=_size, metavar="WIDTHxHEIGHT", help="Of the screenshot; default 1600x1000.")
@click.option("--link", type=click.Path(path_type=Path), metavar="JSON", help="Write the page's state there.")
@click.option("--bind", metavar="ADDRESS", help="Instead of `bind` in the settings: 127.0.0.1.")
@click.option("--port", type=click.IntRange(0, 65535), help="Instead of `port`: a free one.")
@click.option("--no-browser", is_flag=True, help="Print the link, open nothing.")
@options.settings("view")
def command(stores: tuple[Path, ...], **given: Any) -> None:
    """Show images and what was made of them in the browser, until Ctrl-C.

    STORE is an image, masks, objects (the table of them may follow as .parquet) or outlines (.geojson). An
    image brings its labels along, and masks at IMAGE/labels/NAME their image. Nothing is copied: chunks are
    handed out as they are stored, read-only, to whoever has the link, which only this machine can reach.
    """
    from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.viewing.config import ViewConfig  # noqa: PLC0415
    from unet_batch.viewing.run import view, write_link  # noqa: PLC0415

    more = [f"{key}={given[key]}" for key in ("bind", "port") if given[key] is not None]
    config = load(ViewConfig, given["config_file"], [*given["overrides"], *more])
    with view(list(stores), config, difference=given["difference"]) as server:
        if given["link"] is not None:
            write_link(server, given["link"])
        if given["screenshot"] is None:
            _serve(server, no_browser=given["no_browser"])
            return
        from unet_batch.viewing.screenshot import screenshot  # noqa: PLC0415

        width, height = given["size"]
        screenshot(server.url, given["screenshot"], (width, height))
        click.echo(f"{given['screenshot']}: {width} x {height}")


def _serve(server: "Server", *, no_browser: bool) -> None:
    from unet_batch.cli.stopping import on_signals  # noqa: PLC0415
    from unet_batch.viewing.run import forwarding  # noqa: PLC0415

    with on_signals(lambda _: None) as stopped:
        click.echo(server.url)
        line = forwarding(server)
        if line is not None:
            click.echo(f"from another machine: {line}", err=True)
        elif not no_browser:
            click.launch(server.url)
        click.echo("Ctrl-C ends it", err=True)
        while not stopped():
            time.sleep(0.2)

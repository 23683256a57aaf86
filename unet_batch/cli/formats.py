"""``unet-batch formats``."""

import click

from unet_batch.cli import options


@click.command()
@options.as_json
def command(as_json: bool) -> None:
    """List the formats that are read, with the library that reads each and the extra that installs it."""
    from unet_batch.extras import has  # noqa: PLC0415 - what a verb needs is imported when it runs
    from unet_batch.formats.catalogue import HEADINGS, MODULES, rows  # noqa: PLC0415

    ready = {extra: all(map(has, modules)) for extra, modules in MODULES.items()}
    if as_json:
        options.echo_json([dict(zip(HEADINGS, row, strict=True)) for row in rows()])
        return
    for name, library, extra, reads, lacks in rows():
        absent = "" if all(ready.get(one, True) for one in extra.split(", ")) else ", not installed"
        click.echo(f"{name}")
        click.echo(f"    {library}{f' (extra {extra}{absent})' if extra else ''}")
        for word, text in (("read", reads), ("not read", lacks)):
            if text:
                click.echo(f"    {word}: {text}")

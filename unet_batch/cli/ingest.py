"""``unet-batch ingest``: one file, or one of the verbs below it. Imports each when it is called."""

import click

from unet_batch.cli.lazy_group import LazyGroup

FILE = "file"


class _Ingest(LazyGroup):
    """Sub-verbs by name; anything else is the source of ``file``."""

    prefix = "ingest_"
    told = {  # noqa: RUF012 - a ClassVar of the base
        FILE: "One image file; `ingest SOURCE OUT` is short for it.",
        "mosaic": "Scenes, or fields of a stage scan, become one image.",
        "labels": "Masks of 0 and 255, or of colours, become labels.",
        "annotations": "Drawn annotations become labels on the grid of an image.",
    }

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``file`` before arguments that name no sub-verb."""
        if args and args[0] not in {*self.told, *ctx.help_option_names}:
            args = [FILE, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What ``ingest SOURCE OUT`` takes, then the sub-verbs."""
        file = self.get_command(ctx, FILE)
        assert file is not None
        file.format_help(click.Context(file, info_name=ctx.command_path), formatter)
        self.format_commands(ctx, formatter)


@click.group(cls=_Ingest)
def command() -> None:
    """Foreign files become OME-Zarr."""

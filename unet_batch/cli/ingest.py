"""``unet-batch ingest``: one file, or one of the verbs below it. Imports each when it is called."""

import importlib

import click

FILE = "file"
MODULES = {
    FILE: ("ingest_file", "One image file; `ingest SOURCE OUT` is short for it."),
    "mosaic": ("ingest_mosaic", "Scenes, or fields of a stage scan, become one image."),
    "labels": ("ingest_labels", "Masks of 0 and 255, or of colours, become labels."),
    "annotations": ("ingest_annotations", "Drawn annotations become labels on the grid of an image."),
}


class _Ingest(click.Group):
    """Sub-verbs by name; anything else is the source of ``file``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``file`` before arguments that name no sub-verb."""
        if args and args[0] not in {*MODULES, *ctx.help_option_names}:
            args = [FILE, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All sub-verbs."""
        del ctx
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The sub-verb's command, from its module."""
        del ctx
        if cmd_name not in MODULES:
            return None
        module = importlib.import_module(f"unet_batch.cli.{MODULES[cmd_name][0]}")
        command: click.Command = module.command
        return command

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What ``ingest SOURCE OUT`` takes, then the sub-verbs."""
        file = self.get_command(ctx, FILE)
        assert file is not None
        file.format_help(click.Context(file, info_name=ctx.command_path), formatter)
        with formatter.section("Commands"):
            formatter.write_dl([(name, told) for name, (_, told) in MODULES.items()])


@click.group(cls=_Ingest)
def command() -> None:
    """Foreign files become OME-Zarr."""

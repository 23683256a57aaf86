"""LazyGroup: verbs that are imported when they are called; their help lines are known without it."""

import importlib
from collections.abc import Mapping
from typing import ClassVar

import click


class LazyGroup(click.Group):
    """Commands by name.

    Attributes:
        told: the help line of each.
        prefix: of the modules in this package that hold them.
    """

    told: ClassVar[Mapping[str, str]]
    prefix: ClassVar[str] = ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        del ctx
        return list(self.told)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, from the module of its name."""
        del ctx
        if cmd_name not in self.told:
            return None
        module = importlib.import_module(f"unet_batch.cli.{self.prefix}{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in ``--help``, without importing any."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(self.told.items()))

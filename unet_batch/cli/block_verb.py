"""What every verb that works by blocks takes on the command line, and how it shows itself."""

import functools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from unet_batch.cli import options
from unet_batch.cli.progress import Display, display, echo_line, observe
from unet_batch.cli.stopping import on_signals

if TYPE_CHECKING:
    from unet_batch.config import Config
    from unet_batch.engine.progress import Hooks

ConfigT = TypeVar("ConfigT", bound="Config")
CallT = TypeVar("CallT", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class BlockCall:
    """How a verb was asked to go over its blocks, and to show that.

    Attributes:
        verb: its name, which stands before counts of blocks.
        config_file: YAML with settings.
        overrides: ``key=value`` settings; ``--scheduler``, ``--workers`` and ``--overwrite`` are among them.
        retry_failed: try blocks again that were set aside.
        quiet, json_lines, as_json: what is shown.
    """

    verb: str
    config_file: Path | None
    overrides: tuple[str, ...]
    retry_failed: bool
    quiet: bool
    json_lines: bool
    as_json: bool

    def config(self, kind: type[ConfigT], *more: str) -> ConfigT:
        """The verb's settings; ``more`` are ``key=value`` of options of its own.

        Raises:
            ConfigError, MissingError: as of ``unet_batch.config.load``.
        """
        from unet_batch.config import load  # noqa: PLC0415 - what a verb needs is imported when it runs

        return load(kind, self.config_file, (*self.overrides, *more))

    @contextmanager
    def shown(self) -> Iterator[tuple[Display, Callable[[], bool]]]:
        """The display, and the question whether to stop, for the length of the work."""
        with (
            display(self.verb, quiet=self.quiet, json_lines=self.json_lines) as where,
            on_signals(where.notify) as stop,
        ):
            yield where, stop

    @contextmanager
    def hooks(self) -> Iterator["Hooks"]:
        """What the engine calls, for the length of the work."""
        from unet_batch.engine.progress import Hooks  # noqa: PLC0415 - what a verb needs is imported when it runs

        with self.shown() as (where, stop):
            yield Hooks(observe(where), stop)

    def show(self, event: str, values: Any, text: Callable[[], None]) -> None:
        """The result: a JSON line (of a mapping), JSON, or what ``text`` prints."""
        if self.json_lines:
            assert isinstance(values, Mapping)
            echo_line(event, values)
        elif self.as_json:
            options.echo_json(values)
        else:
            text()


_SCHEDULER = click.option(
    "--scheduler", metavar="ADDRESS|FILE", help="A running Dask cluster; default: workers here."
)
_WORKERS = click.option(
    "--workers", metavar="N|auto", help="Workers to start here; 0: the plain loop in this process."
)
_OVERWRITE = click.option("--overwrite", is_flag=True, help="Replace an output that is there.")
_RETRY = click.option("--retry-failed", is_flag=True, help="Try blocks again that were set aside.")


def block_verb(
    verb: str, schema: str = "", *, overwrites: bool = True, retry: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Options of a verb that works by blocks; the command gets them as one argument, ``blocks``.

    Args:
        verb: its name in counts of blocks.
        schema: its settings by the name that ``unet-batch schema`` takes; default: the verb's.
        overwrites: whether it makes an output that may be there.
        retry: whether it has ``--retry-failed``.
    """

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(**given: Any) -> Any:
            blocks = _taken(verb, given)
            return function(**given, blocks=blocks)

        wraps = [options.settings(schema or verb)]
        wraps += [_SCHEDULER, _WORKERS, *([_OVERWRITE] if overwrites else [])]
        wraps += [_RETRY] if retry else []
        for one in reversed([*wraps, options.quiet, options.json_lines, options.as_json]):
            call = one(call)
        return call

    return wrap


def _taken(verb: str, given: dict[str, Any]) -> BlockCall:
    """The shared options, taken out of those that click gives."""
    scheduler, workers = given.pop("scheduler", None), given.pop("workers", None)
    overrides = given.pop("overrides")
    overrides += (f"scheduler={json.dumps(scheduler)}",) if scheduler else ()
    overrides += (f"workers={workers}",) if workers else ()
    overrides += ("overwrite=true",) if given.pop("overwrite", False) else ()
    return BlockCall(
        verb,
        given.pop("config_file"),
        overrides,
        given.pop("retry_failed", False),
        **{name: given.pop(name) for name in ("quiet", "json_lines", "as_json")},
    )

"""The program as a person calls it, in this process, and what its answer must look like."""

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from unet_batch.cli.main import main

# The serial loop without a trial; threads of such small networks would only wait for each other.
SERIAL = ("workers=0", "threads=1", "backend=eager", "precision=fp32", "block=64", "tile=32")


@dataclass(frozen=True)
class Answer:
    """Exit code and what was written."""

    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def refusal(self):
        """The one line of a refusal, without its prefix."""
        lines = self.err.splitlines()
        assert (self.code, len(lines), self.out) == (2, 1, ""), self
        assert lines[0].startswith("error: "), lines
        return lines[0].removeprefix("error: ")


def call(*words) -> Answer:
    """``unet-batch WORDS...``; an exception that would be a traceback is raised here."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["unet-batch", *map(str, words)]
    redirected = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with mock.patch.object(sys, "argv", argv), redirected[0], redirected[1]:
        try:
            main()
        except SystemExit as end:
            return Answer(int(end.code or 0), out.getvalue(), err.getvalue())
    raise AssertionError("main always exits")


def settings(*items: str) -> list[str]:
    """``key=value`` items as options."""
    return [word for item in items for word in ("--set", item)]


def predict(*words, image="image.zarr", out="out.zarr", model="net.safetensors", using=SERIAL) -> Answer:
    """``unet-batch predict``, by default of the small image with the small network."""
    return call("predict", image, out, "--model", model, *settings(*using), *words)


def listing(folder: Path) -> dict[str, tuple[int, int] | None]:
    """Everything under ``folder``: files by size and time of change, folders by name; locks by size alone."""
    return {str(path): _stamp(path) for path in sorted(folder.rglob("*"))}


def _stamp(path: Path) -> tuple[int, int] | None:
    if not path.is_file():
        return None
    found = path.stat()
    return found.st_size, 0 if path.name == "lock" else found.st_mtime_ns

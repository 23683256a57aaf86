"""Hostile names in every path argument of the verbs, and in what is handed to SLURM.

Success or one line, nothing of the name is run, and what a terminal is sent has no control characters.
"""

import json
import os
import random
import shlex
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile

from tests.cli.program import Answer, call, settings
from tests.faults.campaign import Found
from tests.faults.verbs import PREDICT, World
from unet_batch.cli.streams import clean
from unet_batch.prediction.run import predict

LONGEST = 255  # bytes of a name
SLURM = Path(__file__).parents[2] / "slurm"
_ACTING = {"Cc", "Cs", "Zl", "Zp"}
_ESCAPED = "escaped"  # the file that a name which is run would make

HARM = [
    " ",
    "  a  b ",
    "'",
    '"',
    "'\"'\"",
    "\n",
    "a\nb",
    "\t",
    "\r",
    f"$(touch {_ESCAPED})",
    f"`touch {_ESCAPED}`",
    f"; touch {_ESCAPED};",
    f"| touch {_ESCAPED} #",
    f"&& touch {_ESCAPED}",
    "$HOME",
    "${PATH}",
    "~",
    "*",
    "?",
    "[a-z]",
    "{a,b}",
    "-",
    "--",
    "-rf",
    "--help",
    "--set=workers=9",
    "%",
    "%j",
    "%%",
    "%s%n",
    "%00",
    "%2e%2e",
    "\\",
    "\\n",
    "\x1b[2J",
    "\x07",
    "\x7f",
    "ü",
    "é",
    "細胞",
    "\U0001f9ec",
    "\u202eabc",
    "\u200f",
    "\u2066x\u2069",
    "\ufeff",
    "\u2028",
    "\x85",
    "=1+1",
    "@SUM(A1)",
    "+1",
    "<script>",
    "&amp;",
    "a:b",
    "http:",
    "WMS:",
    "#frag",
    "?query=1",
    "a=b",
    "a,b",
    "null",
    "!!python",
    "..",
    ".hidden",
    "0",
    "c",
    "labels",
    "zarr.json",
    "CON",
]


@dataclass(frozen=True)
class Place:
    """One path argument: the call in which ``@`` is the name, its ending, and what it is a copy of."""

    words: tuple[str, ...]
    ending: str
    source: str = ""

    @property
    def verb(self) -> str:
        """The verb's words before the first option or path."""
        return " ".join(self.words[: 1 + (self.words[1] in ("annotations", "mosaic", "labels"))])


_SMALL = settings("workers=0", "block=32", "chunk=32")
_SERIAL = settings("workers=0")
_EAGER = settings("workers=0", "threads=1", "backend=eager", "precision=fp32", "block=32", "tile=16")
_NET = "--model=net.safetensors"


def places() -> list[Place]:
    """Each path argument of each verb that reads or writes one, with small inputs."""
    found = [
        Place(("predict", _NET, *_EAGER, "--", "@", "out.zarr"), ".zarr", "image.zarr"),
        Place(("predict", _NET, *_EAGER, "--", "image.zarr", "@"), ".zarr"),
        Place(
            ("predict", "--model=@", *_EAGER, "--", "image.zarr", "out.zarr"),
            ".safetensors",
            "net.safetensors",
        ),
        Place(("predict", "--config=@", _NET, *_EAGER, "--", "image.zarr", "out.zarr"), ".yaml", "few.yaml"),
        Place(("plan", _NET, *_EAGER, "--", "@", "out.zarr"), "", "image.zarr"),
        Place(("plan", _NET, *_EAGER, "--", "image.zarr", "@"), ""),
        Place(("ingest", *_SMALL, "--", "@", "out.zarr"), ".tif", "raster.tif"),
        Place(("ingest", *_SMALL, "--", "raster.tif", "@"), ".zarr"),
        Place(("ingest", "mosaic", *_SMALL, "--", "@", "out.zarr"), ".tif", "scene0.tif"),
        Place(("ingest", "mosaic", *_SMALL, "--", "scene0.tif", "scene1.tif", "@"), ""),
        Place(
            ("ingest", "annotations", *_SMALL, "--", "image.zarr", "@", "out.zarr"),
            ".geojson",
            "drawn.geojson",
        ),
        Place(("ingest", "annotations", *_SMALL, "--", "image.zarr", "drawn.geojson", "@"), ".zarr"),
        Place(("ingest", "labels", "--map=1=a", *_SMALL, "--", "@", "out.zarr"), ".tif", "labels.tif"),
        Place(("ingest", "labels", "--map=1=a", *_SMALL, "--", "labels.tif", "@"), ""),
        Place(("objects", *_SERIAL, "--", "@", "out.parquet"), ".zarr", "masks.zarr"),
        Place(("objects", *_SERIAL, "--", "masks.zarr", "@"), ".parquet"),
        Place(("objects", "--labels=@", *_SERIAL, "--", "masks.zarr", "out.parquet"), ""),
        Place(("stats", *_SERIAL, "--", "@", "out.csv"), "", "masks.zarr"),
        Place(("stats", *_SERIAL, "--", "masks.zarr", "@"), ".csv"),
        Place(("stats", "--reference=@", *_SERIAL, "--", "masks.zarr", "out.csv"), "", "masks.zarr"),
        Place(("stats", "--zones=@", *_SERIAL, "--", "masks.zarr", "out.csv"), ".geojson", "drawn.geojson"),
        Place(("evaluate", "--", "@", "masks.zarr"), "", "masks.zarr"),
        Place(("evaluate", "--", "masks.zarr", "@"), "", "masks.zarr"),
        Place(("preview", "--", "@", "out.png"), ".zarr", "masks.zarr"),
        Place(("preview", "--", "masks.zarr", "@"), ".png"),
        Place(("report", "--", "@", "out.html"), "", "done.zarr"),
        Place(("report", "--", "done.zarr", "@"), ".html"),
        Place(("verify", "--", "@"), "", "done.zarr"),
        Place(("status", "--", "@"), "", "done.zarr"),
        Place(("info", "--", "@"), ".zarr", "image.zarr"),
        Place(("info", "--", "@"), ".tif", "raster.tif"),
        Place(("export", *_SERIAL, "--", "@", "out.tif"), ".zarr", "masks.zarr"),
    ]
    kinds = (".tif", ".ome.tif", ".geojson", ".parquet", ".gpkg")
    return [*found, *(Place(("export", *_SERIAL, "--", "masks.zarr", "@"), kind) for kind in kinds)]


def named(chance: random.Random, number: int) -> str:
    """A name: each piece of harm alone first, then several together; now and then as long as names may be."""
    name = HARM[number] if number < len(HARM) else "".join(chance.choices(HARM, k=chance.randint(2, 4)))
    if number % 9 == 8:
        name = name + chance.choice(["x", "é", "%"]) * LONGEST
    return name.replace("/", "")


def campaign(world: World, folder: Path, seed: int, found: Found) -> None:
    """Names in a path argument each, and in SLURM's words, until time is up.

    In the first round each argument is first given a plain name, with which the call is to succeed.
    """
    chance, everywhere = random.Random(seed), places()
    chance.shuffle(everywhere)
    _furnish(world.folder)
    number = 0
    while not found.over:
        place, name = everywhere[number % len(everywhere)], named(chance, number % 200)
        if number < len(everywhere):
            with _desk(world, folder):
                answer = _made(place, "plain")
                found.count("plain names", f"{place.words}: {answer}" if answer.code not in (0, 1) else "")
        with _desk(world, folder):
            fault = answered(place, name)
            found.count(place.verb, fault and f"{place.words} with {name!r}: {fault}")
            fault = handed_on(name)
            found.count("SLURM", fault and f"{name!r}: {fault}")
        number += 1


def _furnish(folder: Path) -> None:
    """What calls need beside the inputs of other campaigns."""
    predict(folder / "image.zarr", folder / "done.zarr", folder / "net.safetensors", PREDICT)
    tifffile.imwrite(folder / "labels.tif", np.eye(40, dtype=np.uint8))
    (folder / "few.yaml").write_text("batch: 1\n")


@contextmanager
def _desk(world: World, folder: Path) -> Iterator[None]:
    """A working folder with the inputs, for one call."""
    desk = shutil.copytree(world.folder, folder / "desk")
    with chdir(desk):
        yield
    shutil.rmtree(desk)


def answered(place: Place, name: str) -> str:
    """Make the call in the working folder; what is wrong with its answer."""
    before = {path.name for path in Path.cwd().parent.iterdir()}
    try:
        answer = _made(place, name)
    except Exception as error:  # noqa: BLE001 - any other error is a fault, whatever it is
        return f"{type(error).__name__}: {error}"
    if _run_by_a_shell():
        return "a part of the name was run"
    if {path.name for path in Path.cwd().parent.iterdir()} != before:
        return "something outside the folder"
    return _spoken(answer)


def _made(place: Place, name: str) -> Answer:
    """The call with the name, and with the input that it is of."""
    name = _cut(name, place.ending)
    if place.source:
        _copy(Path(place.source), Path(name))
    return call(*(word.replace("@", name) for word in place.words))


def handed_on(name: str) -> str:
    """A dry run of a job with the name; what is wrong with the words that reach bash and the program."""
    name = f"./{_cut(name, '.csv')}"
    asked = ("submit", "stats", "--dry-run")
    told = call(*asked, "--json", "masks.zarr", name)
    if told.code:
        return f"refused: {told.err}"
    (job,) = json.loads(told.out)
    if job["sbatch"][-3:] != ["stats", "masks.zarr", name]:
        return f"other words: {job['sbatch'][-3:]}"
    line = shlex.join(["env", *(f"{k}={v}" for k, v in job["environment"].items()), *job["sbatch"]])
    if shlex.split(line)[-1] != name:
        return "shlex gives other words back"
    spoken = _spoken(call(*asked, "masks.zarr", name))
    return spoken or _in_bash(line, name) or ("a part of the name was run" if _run_by_a_shell() else "")


def _in_bash(line: str, name: str) -> str:
    """What bash makes of the line, and the job's file of its words."""
    parsed = subprocess.run(["bash", "-n", "-c", line], capture_output=True, check=False)
    if parsed.returncode:
        return f"bash -n: {parsed.stderr!r}"
    show = Path("show")
    show.write_text('#!/bin/bash\nprintf "%s\\0" "$@" >said\n')
    show.chmod(0o700)
    told = {"UNET_BATCH_PYTHON": str(show.absolute()), "UNET_BATCH_FILES": str(SLURM), "SLURM_JOB_ID": "1"}
    told |= {"UNET_BATCH_FOLDER": f"{Path.cwd()}/job", "SLURM_SUBMIT_DIR": str(Path.cwd())}
    words = ["bash", str(SLURM / "run.sbatch"), "stats", "masks.zarr", name]
    ran = subprocess.run(words, env={**os.environ, **told}, capture_output=True, check=False)
    said = os.fsdecode(Path("said").read_bytes()).split("\0")[:-1] if Path("said").exists() else []
    if said != ["-m", "unet_batch", "stats", "masks.zarr", name]:
        return f"run.sbatch: {said} {ran.stderr!r}"
    return ""


def _spoken(answer: Answer) -> str:
    """What is wrong with what is said and with the exit code."""
    shown = clean(answer.out + answer.err)  # as standard output does it
    acting = {c for c in shown if unicodedata.category(c) in _ACTING and c not in "\n\t"}
    if acting:
        return f"characters that act on a terminal are shown: {acting}"
    if answer.code in (0, 1, 3):
        return "" if "Traceback" not in answer.err else answer.err
    lines = answer.err.splitlines()
    told = [line.startswith("error: ") for line in lines]  # others are of progress
    if answer.code != 2 or told.count(True) != 1 or not told[-1] or "Traceback" in answer.err:
        return f"ended with {answer.code}: {answer.err}"
    return ""


def _run_by_a_shell() -> bool:
    """Whether the file lies anywhere that a name, when run, could have made it."""
    return any(path.name == _ESCAPED for path in Path.cwd().rglob(_ESCAPED))


def _copy(source: Path, name: Path) -> None:
    if name.name in ("", "..") or name.exists():
        return
    shutil.copytree(source, name) if source.is_dir() else shutil.copyfile(source, name)


def _cut(name: str, ending: str) -> str:
    """The name with its ending, of at most so many bytes as file systems take."""
    room = LONGEST - len(ending)
    return name.encode()[:room].decode(errors="ignore") + ending

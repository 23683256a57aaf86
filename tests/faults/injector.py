"""Faults: what a forked child does to files below a folder, counted, refused at one place, or ended there.

    python -m tests.faults.injector MODULE ...   runs a module with the shim between it and the C library

The shim sees Python's own calls as well as those of zarrs (Rust), GDAL, SQLite and Arrow (C++).
"""

import ctypes
import errno
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
COUNT, DIE_BEFORE, DIE_AFTER, REFUSE, DEAD = range(5)
KILLED = 137
ERRNOS = {name: getattr(errno, name) for name in ("ENOSPC", "EIO", "EACCES", "EMFILE")}
_SECONDS = 120


@dataclass(frozen=True)
class Outcome:
    """How a child ended: its exit code, what it said last, and how many changes it made."""

    code: int
    said: str
    changes: int


def compiled() -> Path:
    """The shim, compiled once for each of its versions."""
    source = HERE / "shim.c"
    made = Path(tempfile.gettempdir()) / f"unet-batch-shim-{os.getuid()}-{source.stat().st_mtime_ns}.so"
    if not made.exists():
        part = made.with_suffix(f".{os.getpid()}")
        command = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(part), str(source), "-ldl", "-lpthread"]
        subprocess.run(command, check=True)
        part.replace(made)
    return made


def loaded() -> bool:
    """Whether the shim is between this process and the C library."""
    return hasattr(ctypes.CDLL(None), "faults_arm")


def environment() -> dict[str, str]:
    """That of a process with the shim."""
    return {**os.environ, "LD_PRELOAD": str(compiled()), "OMP_NUM_THREADS": "1", "OGR_CURRENT_DATE": _DATE}


_DATE = "2026-01-01T00:00:00Z"  # what GDAL writes into files


def run(
    action: Callable[[], object], folder: Path, how: int = COUNT, at: int = 0, error: int = 0, log: str = ""
) -> Outcome:
    """Do ``action`` in a forked child, with a fault at its change number ``at`` to files in ``folder``.

    An error of this program ends the child with code 2 and its text, any other with 99 and a traceback.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        code = 99
        try:
            code, said = _act(action, folder, how, at, error, log)
            os.write(writing, f"{shim().faults_count()} {said}".encode(errors="replace")[:60_000])
        finally:
            os._exit(code)
    os.close(writing)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(_SECONDS)
    try:
        with os.fdopen(reading, "rb") as pipe:
            count, _, said = pipe.read().decode(errors="replace").partition(" ")
        status = os.waitpid(child, 0)[1]
    finally:
        signal.alarm(0)
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    return Outcome(code, said, int(count or 0))


def run_here(
    action: Callable[[], object], folder: Path, how: int = COUNT, at: int = 0, error: int = 0, log: str = ""
) -> Outcome:
    """The same in this process, many times as fast; it lives on, so a crash is to be ``DEAD``.

    From the change ``at`` on nothing reaches the disk any more, whatever the program does: what is there is
    what a crash leaves.
    """
    code, said = _act(action, folder, how, at, error, log)
    return Outcome(code, said, shim().faults_count())


def shim() -> ctypes.CDLL:
    """The shim's own functions."""
    library = ctypes.CDLL(None)
    library.faults_count.restype = ctypes.c_long
    library.faults_arm.argtypes = [
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_long,
        ctypes.c_int,
        ctypes.c_char_p,
    ]
    return library


def _act(
    action: Callable[[], object], folder: Path, how: int, at: int, error: int, log: str
) -> tuple[int, str]:
    from unet_batch.errors import UnetBatchError

    shim().faults_arm(os.fsencode(folder), how, at, error, os.fsencode(log))
    try:
        action()
    except UnetBatchError as refusal:
        return 2, str(refusal)
    except BaseException:  # noqa: BLE001 - the child ends here whatever it was
        return 99, traceback.format_exc()
    finally:
        shim().faults_disarm()
    return 0, ""


def main() -> None:
    """Start the module again with the shim, unless it is there."""
    if not loaded():
        command = [sys.executable, "-m", "tests.faults.injector", *sys.argv[1:]]
        os.execve(sys.executable, command, environment())
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

"""Event: what happened to one block. Small, as it is all that travels back from a worker."""

import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from unet_batch.errors import FormatError, InputError, MissingError, OutputError, text_of

Status = Literal["done", "skipped", "failed"]
Stop = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to block ``number``.

    Attributes:
        number: raster number of the block.
        status: ``done`` (written), ``skipped`` (no data, nothing written) or ``failed``.
        seconds: wall time from start to end on the worker.
        checksum: of the pixels written.
        counts: pixels per class.
        stages: seconds by stage (read, network, write, ...).
        decoded_bytes: input decoded, margins and whole chunks included.
        needed_bytes: input that the block itself covers.
        error: what went wrong, one line; empty unless failed.
        worker: who did it.
        job: of a batch system, in which it was done.
        remark: what was done otherwise than planned, one line; empty where nothing was.
    """

    number: int
    status: Status
    seconds: float = 0.0
    checksum: int = 0
    counts: tuple[int, ...] = ()
    stages: Mapping[str, float] = field(default_factory=dict)
    decoded_bytes: int = 0
    needed_bytes: int = 0
    error: str = ""
    worker: str = ""
    job: str = ""
    remark: str = ""


class Work(Protocol):
    """What is done to a block. Must be picklable and may run twice: the second run gives the same bytes."""

    def __call__(self, number: int) -> Event:
        """Do block ``number``; an exception counts as failed."""


class Executor(Protocol):
    """Runs blocks and tells what became of each exactly once, in any order."""

    def __call__(self, work: Work, numbers: Iterable[int], stop: Stop) -> Iterator[Event]:
        """Events of all ``numbers``; once ``stop()`` is true no new block is begun, running ones end."""


# Not the block's fault: a full disk or a missing file would fail every other block too. They end the run.
FATAL = (InputError, MissingError, FormatError, OutputError)


def attempt(work: Work, number: int, worker: str = "") -> Event:
    """The event of one try; an exception becomes a ``failed`` event, unless it is ``FATAL``."""
    started = time.perf_counter()
    try:
        event = work(number)
    except FATAL:
        raise
    except Exception as error:  # noqa: BLE001 - a block may fail in any way; its event carries the error
        event = Event(number, "failed", error=describe(error))
    return replace(event, seconds=time.perf_counter() - started, worker=worker, job=job_here())


def job_here() -> str:
    """The batch system's job that this process belongs to; ``12_3`` is an element of an array."""
    array, element = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{element}" if array and element else os.environ.get("SLURM_JOB_ID", "")


def describe(error: BaseException) -> str:
    """An error in one line: type, message and the line of code that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text_of(error, 2000)}{place}"

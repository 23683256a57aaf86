"""Exit codes of ``unet-batch``, the same for every verb; batch systems and scripts act on them."""

from collections.abc import Mapping
from enum import IntEnum

from unet_batch.errors import StoreBusyError, UnfinishedError


class ExitCode(IntEnum):
    """How a verb ended. 1 is an error of the program itself, with a traceback; slurm/job.sh knows 75 as well.

    Attributes:
        DONE: all that was asked for is there.
        REFUSED: bad input or usage, or a place that cannot be written; one line says what, where, the cure.
        INCOMPLETE: finished, but blocks or images were set aside; `verify`: damage, or blocks not done.
        STOPPED: ended early on request (SIGINT, SIGTERM, SIGUSR1, SIGHUP), or another run is at work there:
            the same command goes on.
        INTERRUPTED: ended at once by a second Ctrl-C.
    """

    DONE = 0
    REFUSED = 2
    INCOMPLETE = 3
    STOPPED = 75
    INTERRUPTED = 130


def of_error(error: Exception) -> ExitCode:
    """The code of a run that ends with an error that a person can act on."""
    return ExitCode.STOPPED if isinstance(error, UnfinishedError | StoreBusyError) else ExitCode.REFUSED


def of_blocks(blocks: Mapping[str, int]) -> ExitCode:
    """The code of a run, by how many of its blocks are in each state."""
    if blocks["pending"]:
        return ExitCode.STOPPED
    return ExitCode.INCOMPLETE if blocks["failed"] else ExitCode.DONE

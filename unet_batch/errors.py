"""Every error that a person can cause or must act on.

UnetBatchError
├── InputError (ValueError)          a value that cannot be used
│   ├── ConfigError                  a YAML file or setting
│   ├── SpecError                    a network description
│   └── CheckpointError              a weights file
├── MissingError (FileNotFoundError) a path that is not there
├── FormatError (ValueError)         a file that is not what it should be
├── DamageError (ValueError)         stored data that fails its checksum
├── OutputError (OSError)            a place that cannot be written
├── PlanMismatchError (ValueError)   a store that belongs to another plan
├── StoreBusyError (BlockingIOError) a store that another driver writes
├── WorkerLostError (RuntimeError)   workers that die of what they are asked
├── RankError (ConnectionError)      processes that train together and cannot meet
├── TrainingError (ArithmeticError)  losses that are no numbers
├── ClusterError (RuntimeError)      a cluster that refuses or does not answer
└── UnfinishedError (RuntimeError)   work that ended early, nothing lost: run it again

Each message says what is wrong, where, and the cure, in one line. The command line prints it and exits
with code 2 (75, not now, for UnfinishedError and StoreBusyError); no traceback reaches a person for a mistake
of theirs.
"""

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class UnetBatchError(Exception):
    """Base of all errors of this package."""


class InputError(UnetBatchError, ValueError):
    """A value that cannot be used."""


class ConfigError(InputError):
    """A YAML file or a setting that cannot be used."""


class SpecError(InputError):
    """A network description that no network can follow."""


class CheckpointError(InputError):
    """A weights file that is damaged, foreign or unusable."""


class MissingError(UnetBatchError, FileNotFoundError):
    """A path that does not exist."""


class FormatError(UnetBatchError, ValueError):
    """A file that is not what its place or name says."""


class DamageError(UnetBatchError, ValueError):
    """Stored data that fails its checksum."""


class OutputError(UnetBatchError, OSError):
    """A place that cannot be written."""


class PlanMismatchError(UnetBatchError, ValueError):
    """A store that belongs to another plan."""


class StoreBusyError(UnetBatchError, BlockingIOError):
    """A store that another driver is writing."""


class WorkerLostError(UnetBatchError, RuntimeError):
    """Workers died again and again of what they were asked to do."""


class RankError(UnetBatchError, ConnectionError):
    """Processes that train together and cannot meet, or lost one another."""


class TrainingError(UnetBatchError, ArithmeticError):
    """A training whose losses are no numbers."""


class ClusterError(UnetBatchError, RuntimeError):
    """A cluster that refuses what is asked of it, or does not answer."""


class UnfinishedError(UnetBatchError, RuntimeError):
    """Work that ended early without losing anything; run again, it goes on."""


def text_of(error: BaseException, limit: int = 400) -> str:
    """What an error says, in one line of at most ``limit`` characters that a terminal can print."""
    text = " ".join(str(error).split())
    return "".join(c if c.isprintable() else "?" for c in text[:limit])


def one_line(error: BaseException, limit: int = 200) -> str:
    """The kind of an error and its text, in one line of at most about ``limit`` characters."""
    text = text_of(error, limit)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def raised_as(kind: type[UnetBatchError], tell: Callable[[Exception], str]) -> Iterator[None]:
    """Whatever goes wrong inside is an error of ``kind`` that says ``tell(error)``.

    Errors of this package, and a lack of memory, pass as they are.
    """
    try:
        yield
    except (UnetBatchError, MemoryError):
        raise
    except Exception as error:
        raise kind(tell(error)) from error


_WRITE_FAULTS = {
    errno.ENOSPC: "the disk or quota is full; free space and start again",
    errno.EACCES: "not writable; ask for write permission or choose another output",
    errno.ENAMETOOLONG: "the name is too long for the file system; choose a shorter one",
    errno.EEXIST: "a file is in the way; remove it or choose another output",
    errno.ENOTEMPTY: "a folder is in the way; remove it or choose another output",
    errno.ENOENT: "its folder does not exist; make it or choose another output",
}
_WRITE_FAULTS |= {errno.EDQUOT: _WRITE_FAULTS[errno.ENOSPC], errno.EROFS: _WRITE_FAULTS[errno.EACCES]}
_WRITE_FAULTS |= {errno.EPERM: _WRITE_FAULTS[errno.EACCES], errno.ENOTDIR: _WRITE_FAULTS[errno.EEXIST]}
_WRITE_FAULTS |= {errno.EISDIR: _WRITE_FAULTS[errno.ENOTEMPTY]}


def write_fault(error: Exception) -> str:
    """Why a place cannot be written, with the cure: what follows ``PLACE:`` in an OutputError."""
    told = re.search(r"\bos error (\d+)", str(error))  # zarrs reports the system's error as text only
    code = int(told[1]) if told else getattr(error, "errno", None) or 0
    rest = f"cannot be written ({one_line(error)}); check the disk or choose another output"
    return _WRITE_FAULTS.get(code, rest)

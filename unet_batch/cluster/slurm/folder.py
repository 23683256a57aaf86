"""A job's folder: log, scheduler file, key, settings, what was submitted. Found again by the job's number."""

import json
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from unet_batch.atomic import atomic_path
from unet_batch.cluster.rendezvous import write_private
from unet_batch.errors import OutputError

RECORD, NUMBERS = "job.json", "by-number"


@dataclass(frozen=True, slots=True)
class Record:
    """What was submitted, as its folder keeps it.

    Attributes:
        name: of the job.
        comment: what a person reads in squeue.
        cwd: where the person was.
        submitted: Unix time.
        out: the store that it writes, from the root of the file system.
        jobs: numbers by role, ``driver`` and ``workers``.
        chain: numbers of the drivers of a workflow's steps, in their order; alone, its own.
        go_on: what to call once it has failed.
    """

    name: str
    comment: str
    cwd: str
    submitted: float
    out: str | None = None
    jobs: dict[str, int] = field(default_factory=dict)
    chain: tuple[int, ...] = ()
    go_on: str = ""

    def save(self, folder: Path) -> None:
        """Keep it in ``folder``."""
        write_private(folder / RECORD, json.dumps(asdict(self), indent=2))

    @classmethod
    def load(cls, folder: Path) -> "Record | None":
        """What ``folder`` keeps; None where that is nothing of ours."""
        try:
            values = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            return replace(cls(**values), chain=tuple(values.get("chain", ())))
        except (OSError, ValueError, TypeError):
            return None


def new_name(root: Path, name: str) -> Path:
    """The path of a folder that is not there yet."""
    return root / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def make(folder: Path) -> None:
    """Create it, readable by its owner alone.

    Raises:
        OutputError: it cannot be created.
    """
    try:
        folder.mkdir(mode=0o700, parents=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: cannot be created ({error.strerror}); set `folder` to a place that all nodes share"
        ) from None


def register(folder: Path, number: int) -> None:
    """Let ``find`` find ``folder`` by a job's number."""
    numbers = folder.parent / NUMBERS
    with suppress(OSError):  # logs are then found as long as SLURM remembers the job
        numbers.mkdir(exist_ok=True)
        with atomic_path(numbers / str(number), fsync=False) as link:
            link.symlink_to(Path("..") / folder.name)


def find(root: Path, number: str) -> Path | None:
    """The folder of a job; ``number`` may name an element of an array (12_3)."""
    link = root / NUMBERS / number.partition("_")[0]
    return link.resolve() if link.is_dir() else None

"""Folders of SLURM jobs: the sbatch files that are submitted, and what each job keeps in its own folder.

The sbatch files come with the package, or are a site's own copies. A job's folder holds its log, scheduler
file, key, settings and what was submitted; it is found again by the job's number.
"""

import json
import secrets
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from unet_batch.atomic import atomic_path, atomic_write
from unet_batch.cluster.rendezvous import write_private
from unet_batch.errors import MissingError, OutputError, write_fault

NAMES = (
    "job.sh",
    "site.env",
    "predict.sbatch",
    "worker.sbatch",
    "run.sbatch",
    "train.sbatch",
    "doctor.sbatch",
)


def sbatch_files(own: str | None = None) -> Path:
    """The folder that holds them: ``own``, else the package's.

    Raises:
        MissingError: one of them is not there.
    """
    folder = Path(own).expanduser().absolute() if own else _shipped()
    for name in NAMES:
        if not (folder / name).is_file():
            cure = "copy them there with `unet-batch cluster files`" if own else "install the package again"
            raise MissingError(f"{folder}: has no {name}; {cure}")
    return folder


def copy_files(target: Path) -> list[Path]:
    """Copies to edit; what is there already is left alone. Which ones were written.

    Raises:
        OutputError: ``target`` cannot be written.
    """
    source, written = sbatch_files(), []
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{target}: {write_fault(error)}") from None
    for name in NAMES:
        if not (target / name).exists():
            atomic_write(target / name, (source / name).read_bytes())
            written.append(target / name)
    return written


def _shipped() -> Path:
    package = Path(__file__).parents[2]
    inside = package / "slurm"  # in a wheel; beside the package in a checkout
    return inside if inside.is_dir() else package.parent / "slurm"


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

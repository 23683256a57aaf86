"""The sbatch files: those that come with the package, or a site's own copies."""

from pathlib import Path

from unet_batch.atomic import atomic_write
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

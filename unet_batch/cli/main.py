"""``unet-batch``: the verbs by name, and what a person sees of an error. Imports a verb when it is called."""

import errno
import sys
from pathlib import Path

import click

from unet_batch.cli.exit_codes import ExitCode, of_error
from unet_batch.cli.lazy_group import LazyGroup
from unet_batch.cli.streams import guarded
from unet_batch.errors import UnetBatchError, write_fault
from unet_batch.extras import missing

VERBS = {
    "cancel": "End a SLURM job.",
    "cluster": "What a SLURM cluster has and lacks.",
    "evaluate": "Scores of masks against known labels.",
    "evaluate-many": "Scores of many masks against their labels, as a table.",
    "export": "Masks as GeoTIFF, OME-TIFF or polygons.",
    "formats": "Foreign formats that are read, and by what.",
    "info": "What an image is, without reading its pixels.",
    "ingest": "A foreign image file becomes OME-Zarr.",
    "jobs": "SLURM jobs of this program, and how far they are.",
    "logs": "What a SLURM job wrote.",
    "model": "Make and inspect networks.",
    "objects": "Connected objects or instances of masks, as a table.",
    "plan": "What a prediction would do and cost.",
    "predict": "Segment an image into a mask store.",
    "pool": "Scheduler and workers over several machines.",
    "predict-many": "Segment many images with one pool of workers.",
    "preview": "A picture of an image with masks above it.",
    "report": "One HTML page about a mask store.",
    "run": "Files to masks and products in one call.",
    "schema": "JSON schema of what a YAML file may say.",
    "stats": "Areas of classes, whole or per zone, as a table.",
    "status": "State of a mask store.",
    "submit": "Run a verb as a SLURM job.",
    "train": "A network from labelled images; also under torchrun.",
    "verify": "Whether a mask store holds what was written.",
    "view": "Images and masks in the browser, straight from the stores.",
}

# What an extra brings, by the name that is imported.
EXTRAS = dict.fromkeys(("cc3d", "pyarrow", "pyogrio", "pyproj", "rasterio", "scipy", "shapely"), "products")
EXTRAS |= dict.fromkeys(("matplotlib", "skimage"), "train")
EXTRAS |= {"openslide": "slides", "SimpleITK": "volumes", "h5py": "volumes"}
EXTRAS |= dict.fromkeys(("liffile", "mrcfile", "nd2", "pylibCZIrw", "rsciio"), "microscopes")


class _Verbs(LazyGroup):
    """All verbs."""

    told = dict(sorted(VERBS.items()))  # noqa: RUF012 - a ClassVar of the base


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="unet-batch", prog_name="unet-batch")
def cli() -> None:
    """Segment images too big for one machine with U-Nets: Zarr in, seam-free Zarr masks out."""


def main() -> None:
    """The program: errors that a person can act on are one line and an exit code of ``exit_codes``."""
    with guarded() as streams:
        code = _run()
        streams.flush()
        if streams.fault is not None:
            _refuse(f"standard output: {write_fault(streams.fault)}")
            code = code or ExitCode.REFUSED
    sys.exit(code)


def _run() -> int:
    try:
        Path.cwd()  # many a path is taken from it, in places that would blame something else
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = ExitCode.INTERRUPTED
    except Exception as error:
        if (message := _refusal(error)) is None:
            raise
        code = _refuse(message, of_error(error))
    return code if isinstance(code, int) else ExitCode.DONE


def _refuse(message: str, code: ExitCode = ExitCode.REFUSED) -> ExitCode:
    click.echo(f"error: {' '.join(message.splitlines())}", err=True)
    return code


def _refusal(error: Exception) -> str | None:
    """What a person is told of ``error``; None where it is a fault of this program."""
    if isinstance(error, UnetBatchError | UnicodeEncodeError) and (cause := _not_utf8(error)):
        return cause
    if isinstance(error, UnetBatchError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        return extra and missing(str(error.name), extra, "this")
    return _path_fault(error) if isinstance(error, OSError) else None


def _not_utf8(error: BaseException | None) -> str | None:
    """The refusal, where a path whose bytes are no UTF-8 is behind an error."""
    while error is not None:
        if isinstance(error, UnicodeEncodeError) and "surrogates" in error.reason:
            return f"{error.object:.300}: not UTF-8, which this path must be; rename it"
        error = error.__cause__ or error.__context__
    return None


def _path_fault(error: OSError) -> str | None:
    """The refusal, where no code asked for what the file system says of the person's own paths."""
    if error.errno == errno.ENAMETOOLONG:
        return f"{str(error.filename)[:60]}...: {write_fault(error)}"
    try:
        Path.cwd()
    except OSError:
        return "the working folder is not there any longer; change to another one and run again"
    return None

"""``unet-batch``: the verbs by name, and what a person sees of an error. Imports no verb until it is called.

Exit codes: 0 done; 2 bad input or usage; 3 finished, but some blocks were set aside; 75 stopped early on
request, or another run is at work there: run again to go on; 130 interrupted.
"""

import importlib
import os
import sys

import click

from unet_batch.errors import StoreBusyError, UnetBatchError, UnfinishedError

VERBS = {
    "cancel": "End a SLURM job.",
    "cluster": "What a SLURM cluster has and lacks.",
    "evaluate": "Scores of masks against known labels.",
    "export": "Masks as GeoTIFF, OME-TIFF or polygons.",
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
    "schema": "JSON schema of what a YAML file may say.",
    "stats": "Areas of classes, whole or per zone, as a table.",
    "status": "State of a mask store.",
    "submit": "Run a verb as a SLURM job.",
    "train": "A network from labelled images; also under torchrun.",
    "verify": "Whether a mask store holds what was written.",
}

# What an extra brings, by the name that is imported.
EXTRAS = dict.fromkeys(("cc3d", "pyarrow", "pyogrio", "pyproj", "rasterio", "scipy", "shapely"), "products")


class _Verbs(click.Group):
    """Commands that are imported when they are called; their help lines are known without it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs."""
        del ctx
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, from the module of its name."""
        del ctx
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(
            f"unet_batch.cli.{cmd_name.replace('-', '_')}"
        ).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in ``--help``, without importing any verb."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="unet-batch", prog_name="unet-batch")
def cli() -> None:
    """Segment images too big for one machine with U-Nets: Zarr in, seam-free Zarr masks out."""


def main() -> None:
    """The program: errors that a person can act on are one line and exit code 2."""
    try:
        code = cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except UnetBatchError as error:
        click.echo(f"error: {error}", err=True)
        code = 75 if isinstance(error, UnfinishedError | StoreBusyError) else 2
    except ModuleNotFoundError as error:
        if (extra := EXTRAS.get((error.name or "").partition(".")[0])) is None:
            raise
        click.echo(f"error: {error.name} is not installed; run `pip install 'unet-batch[{extra}]'`", err=True)
        code = 2
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code if isinstance(code, int) else 0)

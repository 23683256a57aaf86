"""``unet-batch schema``."""

import click

from unet_batch.cli import options
from unet_batch.config import Config


@click.command()
@click.argument("kind", type=click.Choice(["cluster", "ingest", "model", "objects", "predict"]))
def command(kind: str) -> None:
    """Print the JSON schema of what the YAML of KIND may say."""
    from unet_batch.cluster.slurm.config import SlurmConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.ingest.config import IngestConfig  # noqa: PLC0415
@click.argument("kind", type=click.Choice(["ingest", "model", "mosaic", "objects", "predict"]))
def command(kind: str) -> None:
    """Print the JSON schema of what the YAML of KIND may say."""
    from unet_batch.ingest.config import IngestConfig  # noqa: PLC0415 - imported when it runs
    from unet_batch.ingest.mosaic.config import MosaicConfig  # noqa: PLC0415
    from unet_batch.models.spec import ModelSpec  # noqa: PLC0415
    from unet_batch.predict.config import PredictConfig  # noqa: PLC0415
    from unet_batch.products.objects.config import ObjectsConfig  # noqa: PLC0415

    kinds: dict[str, type[Config]] = {
        "cluster": SlurmConfig,
        "ingest": IngestConfig,
        "model": ModelSpec,
        "mosaic": MosaicConfig,
        "objects": ObjectsConfig,
        "predict": PredictConfig,
    }
    options.echo_json(kinds[kind].model_json_schema())

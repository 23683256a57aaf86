"""``unet-batch schema``."""

import importlib

import click

from unet_batch.cli import options
from unet_batch.config import Config

KINDS = {
    "annotations": "unet_batch.ingestion.annotations.config.AnnotationsConfig",
    "cluster": "unet_batch.cluster.slurm.config.SlurmConfig",
    "export": "unet_batch.products.export.config.ExportConfig",
    "ingest": "unet_batch.ingestion.config.IngestConfig",
    "labels": "unet_batch.ingestion.labels.config.LabelsConfig",
    "model": "unet_batch.models.spec.ModelSpec",
    "mosaic": "unet_batch.ingestion.mosaic.config.MosaicConfig",
    "objects": "unet_batch.products.objects.config.ObjectsConfig",
    "predict": "unet_batch.prediction.config.PredictConfig",
    "preview": "unet_batch.products.preview.config.PreviewConfig",
    "report": "unet_batch.products.report.config.ReportConfig",
    "stats": "unet_batch.products.stats.config.StatsConfig",
    "train": "unet_batch.training.config.TrainConfig",
    "view": "unet_batch.viewing.config.ViewConfig",
}


@click.command()
@click.argument("kind", type=click.Choice(sorted(KINDS)))
def command(kind: str) -> None:
    """Print the JSON schema of what the YAML of KIND may say."""
    options.echo_json(settings_of(kind).model_json_schema())


def settings_of(kind: str) -> type[Config]:
    """The class that says what a YAML of ``kind`` may say."""
    home, name = KINDS[kind].rsplit(".", 1)
    found: type[Config] = getattr(importlib.import_module(home), name)
    return found

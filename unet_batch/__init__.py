"""U-Net segmentation of images too big for one machine: Zarr in, exact seam-free Zarr masks out.

The public names below are imported when they are first used, so ``import unet_batch`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unet_batch.ingestion.annotations.config import AnnotationsConfig as AnnotationsConfig
    from unet_batch.ingestion.annotations.run import ingest_annotations as ingest_annotations
    from unet_batch.ingestion.config import IngestConfig as IngestConfig
    from unet_batch.ingestion.labels.config import LabelsConfig as LabelsConfig
    from unet_batch.ingestion.labels.run import ingest_labels as ingest_labels
    from unet_batch.ingestion.mosaic.config import MosaicConfig as MosaicConfig
    from unet_batch.ingestion.mosaic.run import ingest_mosaic as ingest_mosaic
    from unet_batch.ingestion.run import ingest as ingest
    from unet_batch.models.build import build as build
    from unet_batch.models.checkpoint import load_checkpoint as load_checkpoint
    from unet_batch.models.checkpoint import save_checkpoint as save_checkpoint
    from unet_batch.models.exporting.run import export_network as export_network
    from unet_batch.models.importing.run import import_network as import_network
    from unet_batch.models.spec import ModelSpec as ModelSpec
    from unet_batch.prediction.config import PredictConfig as PredictConfig
    from unet_batch.prediction.forecast import forecast as forecast
    from unet_batch.prediction.many import predict_many as predict_many
    from unet_batch.prediction.network import Network as Network
    from unet_batch.prediction.predict import predict as predict
    from unet_batch.prediction.status import status as status
    from unet_batch.prediction.verify import verify as verify
    from unet_batch.products.evaluate import evaluate as evaluate
    from unet_batch.products.evaluate_many import evaluate_many as evaluate_many
    from unet_batch.products.export.config import ExportConfig as ExportConfig
    from unet_batch.products.export.run import export as export
    from unet_batch.products.masks_array import open_masks as open_masks
    from unet_batch.products.objects.config import ObjectsConfig as ObjectsConfig
    from unet_batch.products.objects.run import objects as objects
    from unet_batch.products.preview.config import PreviewConfig as PreviewConfig
    from unet_batch.products.preview.run import preview as preview
    from unet_batch.products.report.config import ReportConfig as ReportConfig
    from unet_batch.products.report.run import report as report
    from unet_batch.products.stats.config import StatsConfig as StatsConfig
    from unet_batch.products.stats.run import stats as stats
    from unet_batch.training.config import TrainConfig as TrainConfig
    from unet_batch.training.hooks import Hooks as Hooks
    from unet_batch.training.run import train as train
    from unet_batch.viewing.config import ViewConfig as ViewConfig
    from unet_batch.viewing.run import view as view

__version__ = "0.1.0"

_HOMES = {
    "AnnotationsConfig": "unet_batch.ingestion.annotations.config",
    "ExportConfig": "unet_batch.products.export.config",
    "Hooks": "unet_batch.training.hooks",
    "IngestConfig": "unet_batch.ingestion.config",
    "LabelsConfig": "unet_batch.ingestion.labels.config",
    "ModelSpec": "unet_batch.models.spec",
    "MosaicConfig": "unet_batch.ingestion.mosaic.config",
    "Network": "unet_batch.prediction.network",
    "ObjectsConfig": "unet_batch.products.objects.config",
    "PredictConfig": "unet_batch.prediction.config",
    "PreviewConfig": "unet_batch.products.preview.config",
    "ReportConfig": "unet_batch.products.report.config",
    "StatsConfig": "unet_batch.products.stats.config",
    "TrainConfig": "unet_batch.training.config",
    "ViewConfig": "unet_batch.viewing.config",
    "build": "unet_batch.models.build",
    "evaluate": "unet_batch.products.evaluate",
    "forecast": "unet_batch.prediction.forecast",
    "evaluate_many": "unet_batch.products.evaluate_many",
    "predict": "unet_batch.prediction.predict",
    "predict_many": "unet_batch.prediction.many",
    "export": "unet_batch.products.export.run",
    "export_network": "unet_batch.models.exporting.run",
    "import_network": "unet_batch.models.importing.run",
    "ingest": "unet_batch.ingestion.run",
    "ingest_annotations": "unet_batch.ingestion.annotations.run",
    "ingest_labels": "unet_batch.ingestion.labels.run",
    "ingest_mosaic": "unet_batch.ingestion.mosaic.run",
    "load_checkpoint": "unet_batch.models.checkpoint",
    "open_masks": "unet_batch.products.masks_array",
    "objects": "unet_batch.products.objects.run",
    "preview": "unet_batch.products.preview.run",
    "report": "unet_batch.products.report.run",
    "save_checkpoint": "unet_batch.models.checkpoint",
    "stats": "unet_batch.products.stats.run",
    "status": "unet_batch.prediction.status",
    "train": "unet_batch.training.run",
    "verify": "unet_batch.prediction.verify",
    "view": "unet_batch.viewing.run",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604 - the keys are strings


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'unet_batch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

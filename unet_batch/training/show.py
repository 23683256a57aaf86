"""What the network would see: some samples drawn, augmented and labelled as in a training's first step."""

from pathlib import Path

from unet_batch.errors import MissingError
from unet_batch.models.device import resolve_device
from unet_batch.store.io_errors import writing
from unet_batch.training.augment.augment import Augment
from unet_batch.training.config import TrainConfig
from unet_batch.training.data.loader import Loader
from unet_batch.training.data.sources import open_sources
from unet_batch.training.files import RunFolder
from unet_batch.training.network import spec_of


def show_batch(config: TrainConfig, count: int) -> Path:
    """Draw the first ``count`` samples of the first step to OUT/batch.png; returns its path.

    Raises:
        UnetBatchError: data or settings that cannot be used.
    """
    try:
        from unet_batch.training.sheet import batch_sheet  # noqa: PLC0415 - an optional dependency
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        raise MissingError("matplotlib is not installed; run `pip install unet-batch[train]`") from None
    folder = RunFolder(Path(config.run.out))
    with writing(str(folder.root)):
        folder.root.mkdir(parents=True, exist_ok=True)
    sources = open_sources(config.data, spec_of(config.model), folder.index)
    with Loader(sources, config.sampling, config.augment, count) as loader:
        batch = next(loader)
        augment = Augment(config.augment, sources.spec, loader.patch.input)
    sample = augment(batch, resolve_device(config.run.device))
    path = folder.root / "batch.png"
    batch_sheet(sample, sources.spec, path, batch.where)
    return path

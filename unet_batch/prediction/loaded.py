"""Loaded: checkpoints that this process has read, so that those of a trial are not read again for the run."""

from pathlib import Path

from torch import nn

from unet_batch.models.checkpoint import load_checkpoint
from unet_batch.models.spec import ModelSpec

_loaded: dict[str, tuple[nn.Module, ModelSpec]] = {}


def loaded(digest: str, path: str) -> tuple[nn.Module, ModelSpec]:
    """The checkpoint at ``path``, whose hash is ``digest``; one at a time per process.

    Raises:
        CheckpointError: a checkpoint that cannot be used.
    """
    if digest not in _loaded:
        _loaded[digest] = load_checkpoint(Path(path))
    return _loaded[digest]


def forget() -> None:
    """Give their memory back, once networks have been made ready."""
    _loaded.clear()

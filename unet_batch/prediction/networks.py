"""The networks of a plan: checkpoints read once, and made ready for a device once per process."""

from collections.abc import Sequence
from pathlib import Path

from torch import nn

from unet_batch.models import device as devices
from unet_batch.models.checkpoint import load_checkpoint
from unet_batch.models.feed import Feed, dtype_of
from unet_batch.models.runtime import Runtime
from unet_batch.models.spec import ModelSpec
from unet_batch.prediction.plan import Plan

_loaded: dict[str, tuple[nn.Module, ModelSpec]] = {}
_ready: dict[tuple[object, ...], devices.Network] = {}


def loaded(digest: str, path: str) -> tuple[nn.Module, ModelSpec]:
    """The checkpoint at ``path``, whose hash is ``digest``; what a trial has read is not read again.

    Raises:
        CheckpointError: a checkpoint that cannot be used.
    """
    if digest not in _loaded:
        _loaded[digest] = load_checkpoint(Path(path))
    return _loaded[digest]


def offer(digest: str, module: nn.Module, spec: ModelSpec) -> None:
    """Give a network that is in memory already, instead of the checkpoint of the hash ``digest``."""
    _loaded[digest] = (module, spec)


def ready_networks(plan: Plan, models: Sequence[str], runtime: Runtime) -> list[devices.Network]:
    """The checkpoints ``models``, in the plan's order, ready for the plan's tiles.

    Those of the plan before this one are used again where they are the same: the images of a series share one
    loaded network, and no other stays in memory.

    Args:
        plan: what to compute.
        models: paths of the checkpoints.
        runtime: where and how they run.

    Raises:
        CheckpointError: a checkpoint that cannot be used.
    """
    feed = Feed(plan.input_shape, dtype_of(plan.image.dtype), plan.affine)
    keys = [(digest, runtime, feed) for digest in plan.model.hashes]
    before = dict(_ready)
    _ready.clear()
    for key, digest, model in zip(keys, plan.model.hashes, models, strict=True):
        if key not in before:
            module, spec = loaded(digest, model)
            before[key] = devices.prepare(module, spec, runtime, feed)
        _ready[key] = before[key]
    _loaded.clear()
    return [_ready[key] for key in keys]

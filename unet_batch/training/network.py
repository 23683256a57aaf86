"""The network that a training begins with: new, from a checkpoint, or with a trained encoder."""

from dataclasses import dataclass

from torch import nn

from unet_batch.errors import CheckpointError
from unet_batch.models.build import build
from unet_batch.models.checkpoint import load_checkpoint, read_spec
from unet_batch.models.library import complete, load_smp_encoder
from unet_batch.models.spec import ModelSpec
from unet_batch.models.ternausnet import load_encoder
from unet_batch.training.config import NetworkConfig

_NAMED = 6


@dataclass(frozen=True, slots=True)
class StartingNetwork:
    """A network to train, and what a person should know of its weights."""

    network: nn.Module
    note: str = ""


def spec_of(config: NetworkConfig) -> ModelSpec:
    """The description that is trained: the one given, else that of the checkpoint."""
    if config.spec is not None:
        return complete(config.spec)
    assert config.start is not None
    return read_spec(config.start)


def known_classes(config: NetworkConfig) -> tuple[str, ...]:
    """The classes that the checkpoint it starts from knows; none of a new network."""
    return () if config.start is None else read_spec(config.start).classes


def starting_network(config: NetworkConfig, spec: ModelSpec, seed: int) -> StartingNetwork:
    """The network of ``spec`` with its first weights.

    Raises:
        CheckpointError: a checkpoint or an encoder that cannot be used, or nothing of which fits.
    """
    network = build(spec, seed)
    note = "" if config.start is None else _load_fitting(network, config)
    if config.encoder is not None:
        fill = load_smp_encoder if spec.architecture == "smp" else load_encoder
        fill(network, config.encoder)
    return StartingNetwork(network, note)


def _load_fitting(network: nn.Module, config: NetworkConfig) -> str:
    """Load what has the same name and shape; a sentence that names the rest."""
    assert config.start is not None
    there = load_checkpoint(config.start)[0].state_dict()
    mine = network.state_dict()
    fitting = {key: there[key] for key in mine if key in there and there[key].shape == mine[key].shape}
    if not any(mine[key].ndim > 1 for key in fitting):
        raise CheckpointError(
            f"{config.start}: no weight of it fits this spec; give its own spec, or leave `from` out"
        )
    network.load_state_dict(fitting, strict=False)
    begun_anew = [
        f"{key} {list(value.shape)}" + (f", there {list(there[key].shape)}" if key in there else "")
        for key, value in mine.items()
        if key not in fitting
    ]
    left_out = [key for key in there if key not in mine]
    parts = [f"{config.start}: {len(fitting)} of {len(mine)} tensors loaded"]
    parts += [f"begun anew: {_listed(begun_anew)}"] if begun_anew else []
    parts += [f"not taken over: {_listed(left_out)}"] if left_out else []
    return "; ".join(parts)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more

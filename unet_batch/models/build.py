"""From a spec to an untrained torch module."""

import torch
from torch import nn

from unet_batch.calls import checked
from unet_batch.errors import SpecError
from unet_batch.models.layers import initialise
from unet_batch.models.spec import ModelSpec
from unet_batch.models.ternausnet import TernausNet
from unet_batch.models.unet import UNet


@checked
def build(spec: ModelSpec, seed: int | None = None) -> nn.Module:
    """A new network with He-initialised weights, in training mode, on the default torch device.

    ``seed`` makes the weights repeatable and leaves torch's own generator as it was.

    It takes normalised float (N, C, *spatial) and gives logits (N, classes, *spatial).

    Raises:
        SpecError: an exported network, which is a file and is not built; one that its library refuses.
        InputError: a library that is not installed.
    """
    if seed is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(spec)
    match spec.architecture:
        case "unet":
            model: nn.Module = UNet(spec)
        case "ternausnet":
            model = TernausNet(spec)
        case "smp" | "monai" | "nnunet":
            from unet_batch.models.library import library_network  # noqa: PLC0415 - optional packages

            return library_network(spec)  # initialised as its library does
        case _:
            raise SpecError("an exported network cannot be built; load its file with load_checkpoint")
    initialise(model)
    return model

"""From a spec to an untrained torch module."""

from torch import nn

from unet_batch.errors import SpecError
from unet_batch.models.layers import initialise
from unet_batch.models.spec import ModelSpec
from unet_batch.models.ternausnet import TernausNet
from unet_batch.models.unet import UNet


def build(spec: ModelSpec) -> nn.Module:
    """A new network with He-initialised weights, in training mode, on the default torch device.

    It takes normalised float (N, C, *spatial) and gives logits (N, classes, *spatial).

    Raises:
        SpecError: an exported network, which is a file and cannot be built.
    """
    match spec.architecture:
        case "unet":
            model: nn.Module = UNet(spec)
        case "ternausnet":
            model = TernausNet(spec)
        case _:
            raise SpecError("an exported network cannot be built; load its file with load_checkpoint")
    initialise(model)
    return model

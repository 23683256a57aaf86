"""TernausNet (Iglovikov and Shvets 2018, arXiv:1801.05746): a U-Net whose encoder is torchvision's VGG11.

Up-convolutions are the authors' later 4-px ones (stride 2, padding 1), free of checkerboard artefacts.
Shapes: N batch, C channels, Y, X.
"""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, cat, nn

from unet_batch.errors import CheckpointError
from unet_batch.models.header import read_header
from unet_batch.models.spec import ModelSpec

_LEVELS = ((64,), (128,), (256, 256), (512, 512), (512, 512))  # VGG11 up to its last pooling


class TernausNet(nn.Module):
    """Normalised float input (N, C, Y, X), sizes multiples of 32, to logits of the same size."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        w = spec.width
        first, second, third, fourth, fifth = (level[-1] for level in _LEVELS)
        self.features = _vgg11(spec.in_channels)
        self.center = _decoder(fifth, 16 * w, 8 * w)
        self.decoder = nn.ModuleList(
            [
                _decoder(fifth + 8 * w, 16 * w, 8 * w),
                _decoder(fourth + 8 * w, 16 * w, 4 * w),
                _decoder(third + 4 * w, 8 * w, 2 * w),
                _decoder(second + 2 * w, 4 * w, w),
                nn.Sequential(nn.Conv2d(first + w, w, 3, padding=1), nn.ReLU(inplace=True)),
            ]
        )
        self.head = nn.Conv2d(w, spec.out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of ``x``."""
        skips = []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                skips.append(x)
            x = layer(x)
        x = self.center(x)
        for block, skip in zip(self.decoder, reversed(skips), strict=True):
            x = block(cat([x, skip], dim=1))
        return self.head(x)  # type: ignore[no-any-return]  # modules are called through Any


def load_encoder(model: nn.Module, path: Path) -> None:
    """Fill the encoder from a safetensors file with torchvision's vgg11 keys (``features.0.weight``, ...).

    ImageNet weights expect RGB in 0..1 less mean (0.485, 0.456, 0.406) over std (0.229, 0.224, 0.225): give
    the spec these as ``normalisation``, times 255 for uint8 images. Other keys (``classifier.*``) are left.

    Raises:
        CheckpointError: not safetensors, or a tensor is missing or of another shape; it is named.
    """
    if not isinstance(model, TernausNet):
        raise CheckpointError(f"{path}: holds a VGG11 encoder, which fits only architecture ternausnet")
    header = read_header(path)
    wanted = {f"features.{key}": tuple(value.shape) for key, value in model.features.state_dict().items()}
    header.check_shapes(wanted, exact=False)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy the file again") from None
    state = {key.removeprefix("features."): tensors[key] for key in wanted}
    model.features.load_state_dict(state)


def _vgg11(in_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for level in _LEVELS:
        for channels in level:
            layers += [nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU(inplace=True)]
            in_channels = channels
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _decoder(channels_in: int, middle: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, middle, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(middle, channels_out, 4, stride=2, padding=1),
        nn.ReLU(inplace=True),
    )

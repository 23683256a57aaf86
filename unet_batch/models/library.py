"""Networks of other libraries, built by them: segmentation_models_pytorch, MONAI, nnU-Net's architectures.

Nothing is downloaded: weights come from files. What a spec may name is listed here, so that a checkpoint of
somebody else can make no other object.
"""

import copy
import importlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unet_batch.errors import InputError, SpecError, text_of
from unet_batch.extras import needed
from unet_batch.models.spec import ModelSpec

SMP: tuple[str, ...] = (
    "Unet",
    "UnetPlusPlus",
    "MAnet",
    "Linknet",
    "FPN",
    "PSPNet",
    "DeepLabV3",
    "DeepLabV3Plus",
    "PAN",
)
SMP += ("UPerNet", "Segformer", "DPT")
MONAI: tuple[str, ...] = (
    "UNet",
    "BasicUNet",
    "BasicUNetPlusPlus",
    "DynUNet",
    "SegResNet",
    "UNETR",
    "SwinUNETR",
)
MONAI += ("AttentionUnet", "VNet")
NNUNET = ["PlainConvUNet", "ResidualEncoderUNet"]
NAMES = {"smp": SMP, "monai": MONAI, "nnunet": NNUNET}
FORBIDDEN = {"encoder_weights", "pretrained", "weights", "weights_path", "pretrained_path"}


def library_network(spec: ModelSpec) -> nn.Module:
    """The network that ``spec`` names, with random weights; (N, C, *spatial) to logits of that size.

    Raises:
        SpecError: a name that is not known, or arguments that the library refuses.
        InputError: the library is not installed.
    """
    names, options = NAMES[spec.architecture], {key: _listed(value) for key, value in spec.options}
    if spec.name not in names:
        raise SpecError(f"no network {spec.name} of {spec.architecture}; choose among {', '.join(names)}")
    if found := FORBIDDEN & set(options):
        raise SpecError(f"options: {min(found)} would fetch weights; load them from a file instead")
    with _offline():
        make = {"smp": _smp, "monai": _monai, "nnunet": _nnunet}[spec.architecture]
        try:
            return Alone(make(spec, options))
        except InputError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a library makes of wrong arguments
            raise SpecError(
                f"{spec.architecture} {spec.name}: {text_of(error, 200)}; mend `options`"
            ) from None


def complete(spec: ModelSpec) -> ModelSpec:
    """``spec`` with its reach measured, where it is a library's network whose reach is not given."""
    if spec.architecture not in NAMES or spec.margin is not None:
        return spec
    return _completed(spec)


def load_smp_encoder(model: nn.Module, path: Path) -> None:
    """Fill the encoder of an smp network from a file of weights with its names (``conv1.weight``, ...).

    Raises:
        CheckpointError: weights that do not fit; they are named.
    """
    from unet_batch.models.importing.weights import match, read_tensors  # noqa: PLC0415 - reads many formats

    encoder = model.get_submodule("network.encoder")
    wanted = {key: tuple(value.shape) for key, value in encoder.state_dict().items()}
    encoder.load_state_dict(dict(match(path, read_tensors(path), wanted).tensors))


class Alone(nn.Module):
    """A library's network under its own names, whose first output alone counts (others are for training)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of ``x``."""
        found = self.network(x)
        while isinstance(found, list | tuple):
            found = found[0]
        return found  # type: ignore[no-any-return]  # modules are called through Any


@lru_cache(maxsize=8)
def _completed(spec: ModelSpec) -> ModelSpec:
    from unet_batch.models.measure import measured  # noqa: PLC0415 - only where it was not measured before

    field = measured(library_network(spec).eval(), spec.dims, spec.in_channels)
    found = {"margin": field.margin, "multiple": field.multiple, "remainder": field.remainder}
    return spec.model_copy(update={**found, "exact": field.exact, "fixed_size": field.fixed})


def _smp(spec: ModelSpec, options: dict[str, Any]) -> nn.Module:
    if spec.dims != 2:
        raise SpecError("smp networks are of 2 dimensions; mend `dims`")
    library: Any = _imported("segmentation_models_pytorch", "smp")
    basis = {"in_channels": spec.in_channels, "classes": spec.out_channels, "encoder_weights": None}
    network: nn.Module = getattr(library, str(spec.name))(spec.encoder, **basis, **options)
    return network


def _monai(spec: ModelSpec, options: dict[str, Any]) -> nn.Module:
    library: Any = _imported("monai.networks.nets", "monai")
    basis: dict[str, Any] = {"in_channels": spec.in_channels, "out_channels": spec.out_channels}
    dims = {} if spec.name == "VNet" and spec.dims == 3 else {"spatial_dims": spec.dims}
    network: nn.Module = getattr(library, str(spec.name))(**dims, **basis, **options)
    return network


def _nnunet(spec: ModelSpec, options: dict[str, Any]) -> nn.Module:
    library: Any = _imported("dynamic_network_architectures.architectures.unet", "nnunet")
    kinds = {"norm_op": "InstanceNorm", "conv_op": "Conv", "dropout_op": "Dropout"}
    for key, kind in kinds.items():
        if options.get(key, kind) is not None:
            options[key] = getattr(nn, f"{kind}{spec.dims}d") if key in options or key == "conv_op" else None
    options["nonlin"] = nn.LeakyReLU
    basis = {"input_channels": spec.in_channels, "num_classes": spec.out_channels}
    network: nn.Module = getattr(library, str(spec.name))(**basis, **options)
    return network


def _listed(value: Any) -> Any:
    """As the libraries want them: lists; pairs of text and value were a mapping."""
    if not isinstance(value, tuple):
        return value
    if value and all(isinstance(one, tuple) and len(one) == 2 and isinstance(one[0], str) for one in value):
        return {key: _listed(inner) for key, inner in value}
    return [_listed(one) for one in value]


def _imported(name: str, extra: str) -> Any:
    with needed(extra, f"a network of {name.partition('.')[0]}"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries about each other
        try:
            return importlib.import_module(name)
        except RuntimeError as error:
            if "torchvision::" not in str(error):
                raise
            # torchvision's usual build was made for CUDA: beside a torch for CPUs it has none of its own
            # operators, and stops at those that it describes. The networks need none of them.
            for loaded in [key for key in sys.modules if key.partition(".")[0] in ("torchvision", "timm")]:
                del sys.modules[loaded]
            _declare_operators()
            return importlib.import_module(name)


@lru_cache(maxsize=1)
def _declare_operators() -> Any:
    kind: Any = torch.library.Library
    library = kind("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


@contextmanager
def _offline() -> Iterator[None]:
    """Hugging Face's client fetches nothing."""
    before = copy.copy(os.environ.get("HF_HUB_OFFLINE"))
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before

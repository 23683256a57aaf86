"""Networks whose weights come by name: of this package, segmentation_models_pytorch, MONAI or nnU-Net."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from unet_batch.config import validate
from unet_batch.errors import CheckpointError, FormatError, InputError
from unet_batch.models.build import build
from unet_batch.models.checkpoint import save_checkpoint, shapes_of
from unet_batch.models.importing.imported import Imported, class_names
from unet_batch.models.importing.weights import match, read_tensors
from unet_batch.models.library import complete
from unet_batch.models.spec import ModelSpec

# Of torchvision and timm, for RGB of 0 to 255: what encoders with ImageNet's weights were trained with.
IMAGENET = {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]}
_OURS = {
    "_model_class",
    "activation",
    "aux_params",
    "classes",
    "encoder_name",
    "encoder_weights",
    "in_channels",
}


def import_weights(source: Path, out: Path, given: Mapping[str, Any]) -> Imported:
    """The network that ``given`` describes with the weights in ``source``, as a checkpoint at ``out``.

    Raises:
        InputError: no spec that can be built.
        CheckpointError: weights that do not fit it; they are named.
    """
    tensors = read_tensors(source)
    notes: list[str] = []
    values = dict(given)
    if values.get("architecture") == "smp":
        _count(values, tensors, notes)
    if "in_channels" not in values and "preset" not in values:
        raise InputError(
            f"{source}: holds weights alone; say what network they are of: --spec SPEC.yaml, or --set "
            "architecture=smp --set name=Unet --set encoder=resnet34 --set classes=[...]"
        )
    return filled(source, out, validate(ModelSpec, values, where=str(source)), tensors, notes)


def import_smp_folder(source: Path, out: Path, given: Mapping[str, Any]) -> Imported:
    """What ``save_pretrained`` of segmentation_models_pytorch wrote to the folder ``source``.

    Raises:
        FormatError: no such folder.
        CheckpointError: weights that do not fit.
    """
    config = read_json(source / "config.json")
    notes: list[str] = []
    try:
        options = {key: value for key, value in config.items() if key not in _OURS}
        count = int(config["classes"])
        values: dict[str, Any] = {
            "architecture": "smp",
            "name": config["_model_class"],
            "encoder": config["encoder_name"],
            "in_channels": int(config["in_channels"]),
            "options": options,
        }
    except (KeyError, TypeError, ValueError):
        raise FormatError(
            f"{source}: no config.json of segmentation_models_pytorch; give its state dict"
        ) from None
    _name_classes(values, count, given, notes)
    if (
        config.get("encoder_weights") == "imagenet"
        and values["in_channels"] == 3
        and "normalisation" not in given
    ):
        values["normalisation"] = IMAGENET
        notes.append(
            "its encoder began with ImageNet's weights: RGB of 0 to 255 is normalised as those expect"
        )
    found = [path for name in ("model.safetensors", "pytorch_model.bin") if (path := source / name).is_file()]
    if not found:
        raise FormatError(f"{source}: holds no model.safetensors; save it again with save_pretrained")
    spec = validate(ModelSpec, {**values, **given}, where=str(source))
    return filled(source, out, spec, read_tensors(found[0]), notes)


def filled(
    source: Path, out: Path, spec: ModelSpec, tensors: Mapping[str, Tensor], notes: list[str]
) -> Imported:
    """The network of ``spec`` with ``tensors``, measured and saved."""
    if out.suffix != ".safetensors":
        raise InputError(f"{out}: weights are kept as safetensors; let the name end in .safetensors")
    if spec.architecture == "exported":
        raise CheckpointError(f"{source}: holds weights, which need a network; give another `architecture`")
    matched = match(source, tensors, shapes_of(spec))
    spec = complete(spec)
    network = build(spec)
    network.load_state_dict(dict(matched.tensors))
    if matched.left:
        more = f" and {len(matched.left) - 4} more" if len(matched.left) > 4 else ""
        notes.append(f"not taken over: {', '.join(matched.left[:4])}{more}")
    if spec.exact is False:
        notes.append("it depends on its whole input, so tiles are blended")
    save_checkpoint(out, network, spec, card={"imported_from": source.name})
    return Imported(out, spec, tuple(notes))


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file.

    Raises:
        FormatError: none.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise FormatError(f"{path}: not a JSON file with settings; copy the folder again")
    return values


def _count(values: dict[str, Any], tensors: Mapping[str, Tensor], notes: list[str]) -> None:
    """Channels and classes of an smp network, by the shapes of its first and last convolution."""
    shapes = {key: tuple(one.shape) for key, one in tensors.items() if one.ndim == 4}
    last = [shape for key, shape in shapes.items() if "segmentation_head." in key]
    if shapes and "in_channels" not in values:
        values["in_channels"] = next(iter(shapes.values()))[1]
    if last and "classes" not in values:
        _name_classes(values, last[-1][0], {}, notes)


def _name_classes(values: dict[str, Any], count: int, given: Mapping[str, Any], notes: list[str]) -> None:
    if "classes" not in given:
        values["classes"] = class_names(count)
        notes.append(f"classes are named {', '.join(values['classes'][:4])}; give --set classes=[...]")
    if "head" not in given and "head" not in values:
        values["head"] = "multiclass" if count > 1 else "multilabel"

"""Exported programs (.pt2, TorchScript, ONNX) come in as they are, with a spec of what was measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from unet_batch.atomic import atomic_write
from unet_batch.config import validate
from unet_batch.errors import InputError
from unet_batch.models.answers import AsLogits, choose, named_outputs
from unet_batch.models.checkpoint import load_program
from unet_batch.models.importing.imported import Imported, class_names
from unet_batch.models.measure import FIRST, measured
from unet_batch.models.probe import Probe
from unet_batch.models.spec import ModelSpec

CHANNELS = (3, 1, 2, 4, 5, 6, 8)  # that are tried where nobody says how many
USUAL = ("out", "logits", "output", "masks", "segmentation")
SCALES = (2, 4, 8, 16, 32)


def import_program(source: Path, out: Path, given: Mapping[str, Any]) -> Imported:
    """Copy the program at ``source`` to ``out`` and write beside it the spec that was measured.

    Args:
        source: a .pt2, .pt, .ts or .onnx file.
        out: the new file, of the same ending.
        given: keys of the spec that count instead of what is measured.

    Raises:
        InputError: an ending that is another's, or a network that takes no input that was tried.
        CheckpointError: a file that cannot be used.
    """
    if out.suffix != source.suffix:
        raise InputError(f"{out}: {source.name} stays what it is; let the name end in {source.suffix}")
    program = load_program(source)
    values, notes = _described(source, program, given)
    loose = validate(ModelSpec, {"margin": 0, **values}, where=str(source))
    if "margin" not in given:
        field = measured(AsLogits(program, loose), loose.dims, loose.in_channels)
        values |= {"margin": field.margin, "multiple": field.multiple, "remainder": field.remainder}
        values |= {"exact": field.exact} | ({"fixed_size": field.fixed} if field.fixed else {})
        if not field.exact:
            notes.append("it depends on its whole input, so tiles are blended")
    spec = validate(ModelSpec, {**values, **given}, where=str(source))
    if source.resolve() != out.resolve():
        atomic_write(out, _content(source))
    write_spec(out.with_suffix(".yaml"), spec)
    return Imported(out, spec, tuple(notes))


def _content(source: Path) -> bytes:
    """The program in one piece, also where an ONNX graph keeps its weights in files beside it."""
    if source.suffix != ".onnx":
        return source.read_bytes()
    from unet_batch.models.onnx import checked_graph  # noqa: PLC0415 - an optional dependency

    content: bytes = checked_graph(source).SerializeToString()
    return content


def write_spec(path: Path, spec: ModelSpec) -> None:
    """The keys of ``spec`` that are not as usual, as YAML."""
    values = spec.model_dump(mode="json", exclude_defaults=True)
    atomic_write(path, yaml.safe_dump(values, sort_keys=False))


def _described(
    source: Path, program: nn.Module, given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """Keys of the spec by one call with noise, and what was guessed."""
    dims, channels, size = _taken(source, program, given)
    x = torch.randn(1, channels, *(size,) * dims, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        answer = program(x)
    notes: list[str] = []
    output = given.get("output", _usual(answer, notes))
    found = choose(answer, output)
    found = found.unsqueeze(1) if found.ndim == dims + 1 else found
    if found.ndim != dims + 2:
        raise InputError(
            f"{source}: gives {list(found.shape)}, no image of {dims} axes; choose another `output`"
        )
    activation = given.get("activation", _activation(found, notes))
    scale = size // found.shape[2] if size % found.shape[2] == 0 else 1
    count = int(found.max()) + 1 if activation == "argmax" else found.shape[1]
    if activation == "argmax" and "classes" not in given:
        raise InputError(
            f"{source}: gives labels, from which classes cannot be counted; give --set classes=[...]"
        )
    classes = list(given.get("classes", class_names(count)))
    several = len(classes) > 1 and activation != "sigmoid"
    values: dict[str, Any] = {
        "architecture": "exported",
        "dims": dims,
        "in_channels": channels,
        "classes": classes,
        "head": given.get("head", "multiclass" if several else "multilabel"),
        "output": output,
        "activation": activation,
        "output_scale": scale if scale in SCALES else 1,
    }
    values |= {"multiple": values["output_scale"]}
    notes += (
        []
        if "classes" in given
        else [f"classes are named {', '.join(classes[:4])}; give --set classes=[...]"]
    )
    notes += [] if "normalisation" in given else ["normalisation is none; give what it was trained with"]
    return {**values, **given}, notes


def _taken(source: Path, program: nn.Module, given: Mapping[str, Any]) -> tuple[int, int, int]:
    """Dimensions, channels and size of an input that it takes."""
    dims_tried = (given["dims"],) if "dims" in given else (2, 3)
    channels_tried = (given["in_channels"],) if "in_channels" in given else CHANNELS
    refusal = ""
    for dims in dims_tried:
        sizes = (given["fixed_size"],) if "fixed_size" in given else FIRST[dims]
        for channels in channels_tried:
            probe = Probe(program, dims, channels, torch.float32)
            for size in sizes:
                probe.others = (size,) * dims
                x = torch.zeros(probe.shape(0, size))
                with torch.inference_mode():
                    try:
                        program(x)
                    except Exception as error:  # noqa: BLE001 - a foreign program raises anything
                        refusal = refusal or str(error).strip().split("\n", 1)[0][:160]
                        continue
                return dims, channels, size
    raise InputError(
        f"{source}: takes none of the inputs that were tried ({refusal}); give --set dims=2, in_channels=3 "
        "and, if it takes one size only, fixed_size=512"
    )


def _usual(answer: Any, notes: list[str]) -> str | None:
    """The output that usually counts; None where there is only one."""
    if isinstance(answer, Tensor):
        return None
    found = named_outputs(answer)
    if len(found) == 1:
        return None
    name = next((name for name in USUAL if name in found), next(iter(found)))
    notes.append(
        f"of its outputs {', '.join(found)} the one that counts is {name}; else give --set output=NAME"
    )
    return name


def _activation(found: Tensor, notes: list[str]) -> str:
    """What it ends in, by the values that it gives for noise."""
    if not found.is_floating_point():
        notes.append("it gives labels")
        return "argmax"
    if float(found.min()) < 0 or float(found.max()) > 1:
        return "none"
    ones = found.shape[1] > 1 and bool(((found.sum(dim=1) - 1).abs() < 1e-3).all())
    likely = "softmax" if ones else "sigmoid"
    notes.append(
        f"all it gives lies in 0..1, so it is taken to end in a {likely}; else give --set activation=none"
    )
    return likely

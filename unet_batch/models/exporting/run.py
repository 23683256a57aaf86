"""Export: a checkpoint as ONNX, torch.export program, TorchScript, Hugging Face folder or BioImage.IO zip.

Each is written whole or not at all, after what was written has given the logits of the network itself.

Shapes: N batch, C channels, then the spatial axes.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unet_batch.atomic import atomic_path
from unet_batch.calls import checked
from unet_batch.errors import InputError, OutputError, text_of
from unet_batch.extras import needed
from unet_batch.models.checkpoint import load_checkpoint, load_program
from unet_batch.models.exporting.bioimage import write_bioimage
from unet_batch.models.exporting.folder import write_folder
from unet_batch.models.importing.programs import write_spec
from unet_batch.models.spec import ModelSpec

ROUNDING = 1e-3  # of the largest logit: other libraries add in another order
OPSET = 17

Writer = Callable[[Path, nn.Module, ModelSpec, Tensor], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: where, its spec, and the largest difference of a logit (None: weights alone)."""

    path: Path
    spec: ModelSpec
    difference: float | None


@checked
def export_network(source: str | Path, out: str | Path) -> Exported:
    """Write the checkpoint ``source`` for other programs, in the form that the name of ``out`` says.

    Args:
        source: a checkpoint of this package.
        out: ``.onnx`` (with open sizes), ``.pt2`` (torch.export), ``.pt`` or ``.ts`` (TorchScript), each with
            its spec as a YAML file beside it; ``.zip`` (BioImage.IO); else a folder for Hugging Face.

    Raises:
        MissingError, CheckpointError: no checkpoint that can be read.
        InputError: a network that this form cannot hold, or a library that is not installed.
        OutputError: the place cannot be written, or another program computes something else.
    """
    source, out = Path(source), Path(out)
    network, spec = load_checkpoint(source)
    if spec.architecture == "exported" and out.suffix == source.suffix:
        raise InputError(f"{source}: is of this form already; copy it with its YAML")
    x = example(spec)
    writers: dict[str, Writer] = {".onnx": _onnx, ".pt2": _pt2, ".pt": _torchscript, ".ts": _torchscript}
    if out.suffix == ".zip":
        with atomic_path(out) as path, torch.inference_mode():
            write_bioimage(path, network, spec, x)
        return Exported(out, spec, None)
    if out.suffix not in writers:
        with atomic_path(out) as path:
            write_folder(path, network, spec)
        return Exported(out, spec, None)
    with atomic_path(out) as path, _quiet():
        named = path.with_name(f"{path.name}{out.suffix}")
        try:
            writers[out.suffix](named, network, spec, x)
            difference = _difference(named, network, spec)
            named.replace(path)
        finally:
            named.unlink(missing_ok=True)
    write_spec(out.with_suffix(".yaml"), as_exported(spec))
    return Exported(out, as_exported(spec), difference)


def as_exported(spec: ModelSpec) -> ModelSpec:
    """``spec`` of the same network as a program."""
    field = spec.receptive_field()
    return ModelSpec(
        architecture="exported",
        dims=spec.dims,
        in_channels=spec.in_channels,
        classes=spec.classes,
        head=spec.head,
        normalisation=spec.normalisation,
        pixel_size=spec.pixel_size,
        objects=spec.objects,
        colours=spec.colours,
        margin=field.margin,
        multiple=field.multiple,
        remainder=field.remainder,
        exact=field.exact,
        fixed_size=field.fixed,
    )


def example(spec: ModelSpec, steps: int = 2) -> Tensor:
    """Noise that the network takes, of as many smallest steps."""
    field = spec.receptive_field()
    size = field.fixed or field.input_size(steps * field.multiple)
    return torch.randn(
        (1, spec.in_channels, *(size,) * spec.dims), generator=torch.Generator().manual_seed(0)
    )


def _onnx(path: Path, network: nn.Module, spec: ModelSpec, x: Tensor) -> None:
    with needed("onnx", "export to ONNX"):
        import onnx  # noqa: F401, PLC0415 - torch writes with it
        import onnxruntime  # noqa: F401, PLC0415 - what is written is checked by it
    axes = {0: "n", **{2 + k: f"{'zyx'[3 - spec.dims + k]}" for k in range(spec.dims)}}
    dynamic = {} if spec.fixed_size else {"image": axes, "logits": dict(axes)}
    names: dict[str, Any] = {"input_names": ["image"], "output_names": ["logits"]}
    with _refused("ONNX"):
        # The exporter by tracing: sizes stay open wherever the network itself leaves them.
        torch.onnx.export(
            network, (x,), str(path), dynamo=False, opset_version=OPSET, dynamic_axes=dynamic, **names
        )


def _pt2(path: Path, network: nn.Module, spec: ModelSpec, x: Tensor) -> None:
    given, shapes = x, None
    if not spec.fixed_size:
        shapes = ({0: torch.export.Dim("batch"), **{2 + k: _size(spec, k) for k in range(spec.dims)}},)
        given = x.repeat(2, *(1,) * (x.ndim - 1))  # one would be taken for all
    with _refused("torch.export"):
        program = torch.export.export(network, (given,), dynamic_shapes=shapes)
        torch.export.save(program, path)


def _size(spec: ModelSpec, axis: int) -> Any:
    """Legal sizes as multiples of one number: torch would think for minutes about what else they might be."""
    field = spec.receptive_field()
    size: Any = torch.export.Dim(f"n{axis}", min=2)
    size = field.multiple * size if field.multiple > 1 else size
    return size + field.remainder if field.remainder else size


def _torchscript(path: Path, network: nn.Module, spec: ModelSpec, x: Tensor) -> None:
    del spec
    with _refused("TorchScript"):
        trace: Callable[..., torch.jit.ScriptModule] = torch.jit.trace
        trace(network, x, check_trace=False).save(str(path))


def _difference(path: Path, network: nn.Module, spec: ModelSpec) -> float:
    """Largest difference of a logit at another size than the one that it was written with."""
    x = example(spec, 3)
    with torch.inference_mode():
        wanted, found = network(x), load_program(path)(x)
    difference = float((wanted - found).abs().max())
    if wanted.shape != found.shape or not difference <= ROUNDING * float(wanted.abs().max().clamp(min=1)):
        raise OutputError(f"{path.name}: its logits differ by {difference:.2g}; choose another form")
    return difference


@contextmanager
def _refused(form: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - torch's exporters raise anything
        raise InputError(
            f"{form} cannot hold this network ({text_of(error, 160)}); choose another form"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Torch announces its own future while it exports: nothing that a person could act on."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield

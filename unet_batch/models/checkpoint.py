"""Checkpoints: safetensors weights with the spec in the header. Nothing is ever unpickled.

``read_spec`` and ``file_hash`` need no torch; it is imported where weights are touched.
"""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unet_batch.atomic import atomic_write
from unet_batch.calls import checked
from unet_batch.config import validate
from unet_batch.errors import CheckpointError, ConfigError, MissingError, SpecError
from unet_batch.models.header import Header, read_header
from unet_batch.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = "unet_batch/1"
EXPORTED_SUFFIXES = (".pt2", ".pt", ".ts", ".onnx")

StoredAs = Literal["float32", "float16", "bfloat16"]

logger = logging.getLogger(__name__)


@checked
def save_checkpoint(
    path: str | Path,
    model: "nn.Module",
    spec: ModelSpec,
    card: dict[str, Any] | None = None,
    dtype: StoredAs = "float32",
) -> None:
    """Write weights, spec and model card beside ``path``, then rename: never half a file.

    Args:
        path: the file to write; an existing one is replaced.
        model: what ``build(spec)`` gave, trained or not.
        spec: its description.
        card: data, settings and scores of the training, anything that JSON holds.
        dtype: how parameters are stored; buffers such as running variances stay float32.

    Raises:
        CheckpointError: weights that do not fit the spec, or NaN or infinite ones (a float16 can overflow).
        OutputError: ``path`` cannot be written.
    """
    from safetensors.torch import save  # noqa: PLC0415 - torch only where weights are touched

    path = Path(path)
    tensors = _stored(model, dtype)
    _check_finite(path, tensors)
    shapes = {key: tuple(value.shape) for key, value in tensors.items()}
    Header(path, {}, shapes).check_shapes(shapes_of(spec))
    text = spec.model_dump_json()
    metadata = {"format": FORMAT, "spec": text, "card": json.dumps(card or {})}
    atomic_write(path, save(tensors, metadata | {"sha256": _digest(text, tensors)}))


@checked
def load_checkpoint(path: str | Path) -> tuple["nn.Module", ModelSpec]:
    """The network and its spec, float32 on the CPU, in evaluation mode.

    A path that ends in .pt2 (torch.export), .pt or .ts (TorchScript) or .onnx is an exported network with its
    spec in a YAML file of the same name beside it.

    Raises:
        MissingError: no such file.
        CheckpointError: not a checkpoint of this package, damaged, of another network, or NaN weights.
    """
    path = Path(path)
    if path.suffix in EXPORTED_SUFFIXES:
        from unet_batch.models.answers import AsLogits  # noqa: PLC0415 - imports torch

        spec = read_spec(path)
        return AsLogits(load_program(path), spec).eval(), spec
    header = read_header(path)
    spec = _spec_of(header)
    header.check_shapes(shapes_of(spec))
    tensors = _read_tensors(header)
    _check_finite(path, tensors)
    model = _empty(spec)
    model.load_state_dict(tensors, assign=True)
    return model.eval(), spec


def load_program(path: Path) -> "nn.Module":
    """The exported network in a file by its ending, as it is: see ``load_exported`` and ``load_onnx``."""
    if path.suffix == ".onnx":
        from unet_batch.models.onnx import load_onnx  # noqa: PLC0415 - imports torch

        return load_onnx(path)
    from unet_batch.models.exported import load_exported  # noqa: PLC0415 - imports torch

    return load_exported(path)


def read_spec(path: Path) -> ModelSpec:
    """The spec of a checkpoint, from its header alone (for exported networks: from the YAML beside it)."""
    path = Path(path)
    if path.suffix not in EXPORTED_SUFFIXES:
        return _spec_of(read_header(path))
    if not path.exists():
        raise MissingError(f"{path}: no such file; check the path of the network")
    description = path.with_suffix(".yaml")
    if not description.exists():
        raise MissingError(
            f"{description}: no such file; describe {path.name} there (architecture: exported)"
        )
    spec = ModelSpec.from_yaml(description)
    if spec.architecture != "exported":
        raise CheckpointError(
            f"{description}: describes a {spec.architecture}; write `architecture: exported`"
        )
    return spec


def read_card(path: Path) -> dict[str, Any]:
    """The model card of a checkpoint; empty if it was saved without one."""
    header = read_header(Path(path))
    _spec_of(header)
    try:
        card = json.loads(header.metadata.get("card", "{}"))
    except ValueError:
        card = None
    if not isinstance(card, dict):
        raise CheckpointError(f"{path}: damaged model card; copy the file again")
    return card


def file_hash(path: Path) -> str:
    """SHA-256 (hex) of all that decides what the network computes: the file and, if exported, its YAML."""
    path = Path(path)
    parts = [path, path.with_suffix(".yaml")] if path.suffix in EXPORTED_SUFFIXES else [path]
    digest = hashlib.sha256()
    for part in parts:
        try:
            with part.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except FileNotFoundError:
            raise MissingError(f"{part}: no such file; check the path of the checkpoint") from None
        except OSError as error:
            raise CheckpointError(f"{part}: cannot be read ({error.strerror}); give a file") from None
    return digest.hexdigest()


def _spec_of(header: Header) -> ModelSpec:
    found = header.metadata.get("format")
    if found != FORMAT:
        origin = f"format {found!r}" if found else "safetensors of another program"
        raise CheckpointError(f"{header.path}: {origin}, not {FORMAT}; write it with save_checkpoint")
    try:
        values = json.loads(header.metadata.get("spec", ""))
        spec = validate(ModelSpec, values, where=f"{header.path}: spec")
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, ConfigError) else f"{header.path}: spec is not JSON"
        raise CheckpointError(f"{reason}; the header is damaged, copy the file again") from None
    if spec.architecture == "exported":
        raise CheckpointError(
            f"{header.path}: an exported network has no safetensors; give its .pt2, .pt or .ts"
        )
    return spec


def _empty(spec: ModelSpec) -> "nn.Module":
    """The network without memory for its weights, so that a hostile spec costs nothing."""
    import torch  # noqa: PLC0415 - torch only where weights are touched

    from unet_batch.models.build import build  # noqa: PLC0415 - imports torch

    with torch.device("meta"):
        return build(spec)


def shapes_of(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of the network's parameters and buffers, without memory for them.

    Raises:
        SpecError: a network too large to be.
    """
    try:
        return {key: tuple(value.shape) for key, value in _empty(spec).state_dict().items()}
    except (RuntimeError, OverflowError):
        raise SpecError(f"width {spec.width} at depth {spec.depth} makes no network; lower one") from None


def _stored(model: "nn.Module", dtype: StoredAs) -> dict[str, "Tensor"]:
    import torch  # noqa: PLC0415 - torch only where weights are touched

    parameters = {key for key, _ in model.named_parameters()}
    kind = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}[dtype]
    tensors = {}
    for key, value in model.state_dict().items():
        wanted = kind if key in parameters else torch.float32
        tensors[key] = (
            value.detach().to("cpu", wanted if value.is_floating_point() else value.dtype).contiguous()
        )
    return tensors


def _read_tensors(header: Header) -> dict[str, "Tensor"]:
    """The tensors as they were saved, in float32 where they are fractions."""
    from safetensors import SafetensorError  # noqa: PLC0415 - with its torch side
    from safetensors.torch import load_file  # noqa: PLC0415 - imports torch

    path = header.path
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); copy the file again") from None
    saved = header.metadata.get("sha256")
    if saved is None:
        logger.warning("%s: was saved without a checksum, so damage cannot be told", path)
    elif saved != _digest(header.metadata.get("spec", ""), tensors):
        raise CheckpointError(f"{path}: weights or spec are not as they were saved; copy the file again")
    return {key: value.float() if value.is_floating_point() else value for key, value in tensors.items()}


def _digest(spec: str, tensors: Mapping[str, "Tensor"]) -> str:
    """SHA-256 of the spec and of all tensors: names, types, shapes and bytes, in the order of their names."""
    import torch  # noqa: PLC0415 - torch only where weights are touched

    digest = hashlib.sha256(spec.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_finite(path: Path, tensors: dict[str, "Tensor"]) -> None:
    for key, value in tensors.items():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise CheckpointError(
                f"{path}: {key} holds NaN or infinite weights; train again or go back a step"
            )

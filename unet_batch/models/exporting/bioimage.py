"""A BioImage.IO model, spec 0.5: rdf.yaml, TorchScript weights, test tensors, cover and text in a zip."""

import hashlib
import io
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from unet_batch.errors import InputError
from unet_batch.models.spec import MeanStd, ModelSpec, Percentiles


def write_bioimage(path: Path, network: nn.Module, spec: ModelSpec, x: Tensor) -> None:
    """Write the zip; ``x`` (1, C, *spatial), normalised, becomes the test input.

    Raises:
        InputError: a network that TorchScript cannot hold.
    """
    raw = _raw(x, spec)
    with torch.inference_mode():
        logits = network(_normalised(raw, spec))
    files = {
        "weights.pt": _script(network, x),
        "test_input.npy": _npy(raw.numpy()),
        "test_output.npy": _npy(logits.numpy()),
        "cover.png": _png(raw.numpy(), logits.numpy()),
        "README.md": b"# A network of unet_batch\n\nSay here what it was trained on and how well it does.\n",
    }
    description = _rdf(
        spec, x, logits, {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rdf.yaml", yaml.safe_dump(description, sort_keys=False))
        for name, data in files.items():
            archive.writestr(name, data)


def _script(network: nn.Module, x: Tensor) -> bytes:
    trace: Callable[..., torch.jit.ScriptModule] = torch.jit.trace
    target = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.jit.save(trace(network, x, check_trace=False), target)
    except Exception as error:  # noqa: BLE001 - torch's tracer raises anything
        raise InputError(f"TorchScript cannot hold this network ({error}); choose another form") from None
    return target.getvalue()


def _rdf(spec: ModelSpec, x: Tensor, logits: Tensor, hashes: dict[str, str]) -> dict[str, Any]:
    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashes[name]}

    field = spec.receptive_field()
    return {
        "type": "model",
        "format_version": "0.5.4",
        "name": f"{spec.architecture} of unet_batch",
        "description": f"Segments {', '.join(spec.classes[:5])} in images of {spec.in_channels} channels.",
        "authors": [{"name": "unet_batch"}],
        "cite": [{"text": "U-Net, Ronneberger et al. 2015", "url": "https://arxiv.org/abs/1505.04597"}],
        "license": "Apache-2.0",
        "tags": ["segmentation", "unet"],
        "documentation": "README.md",
        "covers": ["cover.png"],
        "inputs": [
            {
                "id": "image",
                "axes": _axes(spec, tuple(x.shape[2:]), "channel", spec.in_channels, field.multiple),
                "test_tensor": file("test_input.npy"),
                "data": {"type": "float32"},
                "preprocessing": _preprocessing(spec),
            }
        ],
        "outputs": [
            {
                "id": "logits",
                "axes": _outputs(spec, x, logits),
                "test_tensor": file("test_output.npy"),
                "data": {"type": "float32"},
            }
        ],
        "weights": {
            "torchscript": {**file("weights.pt"), "pytorch_version": torch.__version__.partition("+")[0]}
        },
        "config": {"unet_batch": {"spec": spec.model_dump(mode="json")}},
    }


def _axes(
    spec: ModelSpec, shape: tuple[int, ...], prefix: str, channels: int, step: int
) -> list[dict[str, Any]]:
    names = [f"{prefix}{n}" for n in range(channels)] if prefix == "channel" else list(spec.classes)
    names = [name.replace(" ", "_") for name in names]
    size = [{"min": n, "step": step} if spec.fixed_size is None else n for n in shape]
    spatial = [{"type": "space", "id": a, "size": n} for a, n in zip("zyx"[-spec.dims :], size, strict=True)]
    return [{"type": "batch"}, {"type": "channel", "channel_names": names}, *spatial]


def _outputs(spec: ModelSpec, x: Tensor, logits: Tensor) -> list[dict[str, Any]]:
    """As large as the input, or smaller by a halo on each side."""
    axes = _axes(spec, tuple(logits.shape[2:]), "class", spec.out_channels, 1)
    for axis, taken, given in zip(axes[2:], x.shape[2:], logits.shape[2:], strict=True):
        if spec.fixed_size is not None:
            axis["size"] = int(given)
        else:
            axis["size"] = {"tensor_id": "image", "axis_id": axis["id"], "offset": int(given - taken)}
    return axes


def _preprocessing(spec: ModelSpec) -> list[dict[str, Any]]:
    match spec.normalisation:
        case MeanStd(mean=mean, std=std):
            count = spec.in_channels // len(mean), spec.in_channels // len(std)
            values: dict[str, Any] = {
                "axis": "channel",
                "mean": list(mean * count[0]),
                "std": list(std * count[1]),
            }
            return [{"id": "fixed_zero_mean_unit_variance", "kwargs": values}]
        case Percentiles(percentiles=(low, high)):
            axes = ["zyx"[k] for k in range(3 - spec.dims, 3)]
            return [
                {"id": "scale_range", "kwargs": {"axes": axes, "min_percentile": low, "max_percentile": high}}
            ]
        case _:
            return []


def _raw(x: Tensor, spec: ModelSpec) -> Tensor:
    """A test input as it is stored: of noise, what normalises to about ``x``."""
    if not isinstance(spec.normalisation, MeanStd):
        return x
    mean, std = _columns(spec, x.ndim)
    return x * std + mean


def _normalised(raw: Tensor, spec: ModelSpec) -> Tensor:
    match spec.normalisation:
        case MeanStd():
            mean, std = _columns(spec, raw.ndim)
            return (raw - mean) / std
        case Percentiles(percentiles=(low, high)):
            flat = raw.flatten(2).numpy()
            limits = np.percentile(flat, (low, high), axis=2).astype(np.float32)
            start, stop = (torch.from_numpy(one).view(1, -1, *(1,) * (raw.ndim - 2)) for one in limits)
            return (raw - start) / (stop - start + 1e-6)
        case _:
            return raw


def _columns(spec: ModelSpec, ndim: int) -> tuple[Tensor, Tensor]:
    assert isinstance(spec.normalisation, MeanStd)
    pairs = (spec.normalisation.mean, spec.normalisation.std)
    mean, std = (torch.tensor(one, dtype=torch.float32).view(1, -1, *(1,) * (ndim - 2)) for one in pairs)
    return mean, std


def _npy(values: Any) -> bytes:
    target = io.BytesIO()
    np.save(target, values.astype(np.float32), allow_pickle=False)
    return target.getvalue()


def _png(image: Any, logits: Any) -> bytes:
    """Input and answer of the test side by side, twice as wide as high, grey."""
    panels = []
    for values in (image, logits):
        plane = values[0, -1].reshape(-1, *values.shape[-2:])[0]
        span = float(plane.max() - plane.min()) or 1.0
        rows = np.linspace(0, plane.shape[0] - 1, 256).astype(int)
        columns = np.linspace(0, plane.shape[1] - 1, 256).astype(int)
        panels.append(((plane - plane.min()) / span * 255).astype(np.uint8)[np.ix_(rows, columns)])
    picture = np.concatenate(panels, axis=1)
    lines = b"".join(b"\0" + row.tobytes() for row in picture)
    header = struct.pack(">IIBBBBB", picture.shape[1], picture.shape[0], 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    packed = (struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)

"""Small images, networks and stores that prediction tests are made of."""

import hashlib
import warnings
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import nn

from unet_batch.engine.progress import Hooks, Progress
from unet_batch.models.build import build
from unet_batch.models.checkpoint import save_checkpoint
from unet_batch.models.spec import ModelSpec
from unet_batch.schedule.events import Event
from unet_batch.store.arrays import create_array
from unet_batch.store.layout import ArrayLayout
from unet_batch.tiling import Box


def noise(shape, seed=0, dtype="uint8"):
    """Pixels that no two tiles share."""
    return np.random.default_rng(seed).integers(0, 250, shape).astype(dtype)


def write_image(path: Path, pixels: np.ndarray, axes: str, chunk: int = 64, fill: float = 0) -> Path:
    """A plain Zarr array with dimension names."""
    chunks = tuple(1 if a in "tc" else min(chunk, n) for a, n in zip(axes, pixels.shape, strict=True))
    array = create_array(
        path, ArrayLayout(pixels.shape, str(pixels.dtype), chunks, chunks, fill=fill, names=tuple(axes))
    )
    for index in np.ndindex(*(-(-n // c) for n, c in zip(pixels.shape, chunks, strict=True))):
        start = tuple(i * c for i, c in zip(index, chunks, strict=True))
        whole = Box(start, tuple(a + c for a, c in zip(start, chunks, strict=True)))
        box = whole.intersect(Box.of_shape(pixels.shape))
        array.write_shard(box, np.ascontiguousarray(pixels[box.slices]))
    return path


def write_network(path: Path, seed: int = 0, **keys: object) -> tuple[Path, nn.Module, ModelSpec]:
    """A random network whose answers vary: its last bias is centred on its own output."""
    normalisation = {"mean": [125], "std": [72]}
    basis = {"in_channels": 1, "classes": ["a", "b", "c"], "width": 4, "normalisation": normalisation}
    spec = ModelSpec.model_validate({**basis, **keys})
    torch.manual_seed(seed)
    model = build(spec).eval()
    with torch.no_grad():
        size = spec.input_size(32)
        logits = model(torch.randn(1, spec.in_channels, *(size,) * spec.dims))
        axes = (0, *range(2, logits.ndim))
        model.head.bias -= logits.mean(axes)
        model.head.weight *= 3
    save_checkpoint(path, model, spec)
    return path, model, spec


def write_exported(path: Path, module: nn.Module, **keys: object) -> Path:
    """``module`` as TorchScript, with the spec beside it."""
    channels = keys.setdefault("in_channels", 1)
    dims = keys.setdefault("dims", 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces the end of TorchScript
        example = torch.zeros(1, channels, *(64,) * dims)
        torch.jit.save(torch.jit.trace(module.eval(), example, strict=False, check_trace=False), path)
    path.with_suffix(".yaml").write_text(yaml.safe_dump({"architecture": "exported", **keys}))
    return path


def write_identity(path: Path, dims: int, depth: int, padding: str, channels: int = 1) -> Path:
    """A real U-Net whose weights pass its (non-negative) input through the finest level unchanged."""
    spec = ModelSpec(
        dims=dims,
        in_channels=channels,
        classes=tuple(f"c{i}" for i in range(channels)),
        width=2 * channels,
        depth=depth,
        padding=padding,
        head="regression",
    )
    model = build(spec)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        for convolution in (
            model.encoder[0][0],
            model.encoder[0][2],
            model.decoder[0][0],
            model.decoder[0][2],
        ):
            for channel in range(channels):
                convolution.weight[(channel, channel, *(1,) * dims)] = 1
        for channel in range(channels):
            model.head.weight[channel, channel] = 1
    save_checkpoint(path, model, spec)
    return path


def shard_hashes(store: Path) -> dict[str, str]:
    """Content of every shard file, by its path in the store."""
    files = sorted(file for file in store.rglob("c/**/*") if file.is_file() and "ledger" not in file.parts)
    return {str(f.relative_to(store)): hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def stopper(after: int) -> tuple[Hooks, list[int]]:
    """Hooks that ask to stop once ``after`` blocks are settled, and the numbers of those that were."""
    seen: list[int] = []

    def observe(event: Event | None, _: Progress) -> None:
        if event is not None:
            seen.append(event.number)

    return Hooks(observe, lambda: len(seen) >= after), seen

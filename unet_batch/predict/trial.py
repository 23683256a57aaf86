"""Trial: what ``auto`` becomes for precision, backend, tile and batch, by running networks for some seconds.

Runs where the work will run: in the serial loop's process, on a Dask worker, or in a child of ``plan``.
torch is imported only where something runs.
"""

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from unet_batch.errors import InputError
from unet_batch.models.machine import cpu_has_bf16, device_kind
from unet_batch.models.spec import ModelSpec
from unet_batch.predict.config import PredictConfig
from unet_batch.predict.planning import Choice, choose_block, tile_choices
from unet_batch.predict.request import Request

if TYPE_CHECKING:
    from torch import nn

SECONDS = 8.0
SMALL = 4 * 2**20  # work of fewer pixels is not worth a trial
MEMORY_SHARE = 0.35
CAP = {("cpu", 2): 1024, ("cuda", 2): 2048, ("cpu", 3): 128, ("cuda", 3): 192}
CUDA_BATCH_PIXELS = 4 * 2**20
# Compiling takes some 40 s and gains some 15 % over eager (measured on CPU): worth it for long runs only.
COMPILE_GAIN, COMPILE_SECONDS = 0.15, 40.0
# Peak of a U-Net in copies of its finest feature map: skip, up-sampled, concatenated, two convolutions.
FEATURE_MAPS = 8
BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}


def assume(request: Request) -> Choice:
    """A choice without running anything: what usually wins, within memory."""
    config, kind = request.config, device_kind(request.config.device)
    precision = config.precision
    if precision == "auto":
        precision = "bf16" if kind == "cuda" or cpu_has_bf16() else "fp32"
    if precision == "fp16" and kind == "cpu":
        raise InputError("precision fp16: needs a CUDA device; use bf16 or fp32")
    backend = config.backend
    if backend == "auto":
        able = kind == "cpu" and importlib.util.find_spec("openvino") is not None
        backend = "openvino" if able and request.spec.architecture != "exported" else "eager"
    batch = 1 if config.batch == "auto" else config.batch
    choice = Choice(kind, precision, backend, (), batch)
    tiles = tile_choices(request, choose_block(request, kind))
    cap = CAP[kind, request.spec.dims]
    fitting = [t for t in tiles if max(t) <= cap and _fits(request.spec, choice, t)]
    choice = replace(choice, tile=(fitting or tiles[-1:])[0])
    if kind == "cuda" and config.batch == "auto":
        pixels = prod(request.spec.input_size(t) for t in choice.tile)
        choice = replace(choice, batch=max(1, min(16, CUDA_BATCH_PIXELS // pixels)))
    return choice


@dataclass(frozen=True, slots=True)
class Trial:
    """A request as it travels to where it is tried; ``measure`` asks for a rate however small the work."""

    image: str
    models: tuple[str, ...]
    config: PredictConfig
    axes: str | None
    threads: int | None
    measure: bool = False

    def __call__(self) -> Choice:
        """The best choice found within some seconds; the networks are loaded, and so checked, in any case.

        Raises:
            CheckpointError: a checkpoint that cannot be used.
            InputError: a device, precision or backend that is not there.
        """
        from unet_batch.models.checkpoint import load_checkpoint  # noqa: PLC0415 - imports torch
        from unet_batch.models.device import resolve_device, resolve_precision  # noqa: PLC0415

        request = Request.open(self.image, self.models, self.config, self.axes)
        modules = [load_checkpoint(Path(model))[0] for model in self.models]
        device = resolve_device(self.config.device)
        choice = assume(replace(request, config=self.config.model_copy(update={"device": device})))
        choice = replace(choice, precision=resolve_precision(self.config.precision, device))
        todo = prod(b - a for a, b in request.roi)
        decided = "auto" not in (self.config.tile, self.config.backend)
        if (decided or todo <= SMALL) and not self.measure:
            return self._convertible(choice, modules[0], request.spec, device)
        best = self._fastest(request, choice, modules[0], device)
        return self._compiled(best, todo)

    def _convertible(self, choice: Choice, module: "nn.Module", spec: ModelSpec, device: str) -> Choice:
        """``choice``, with eager where the assumed backend cannot take this network."""
        from unet_batch.models.device import prepare  # noqa: PLC0415 - imports torch

        if self.config.backend != "auto" or choice.backend == "eager":
            return choice
        tile = (max(1, spec.reach().multiple),) * spec.dims
        try:
            shape = input_shape(spec, replace(choice, tile=tile))
            prepare(module, spec, device, choice.precision, choice.backend, shape, self.threads)
        except InputError:
            return replace(choice, backend="eager")
        return choice

    def _fastest(self, request: Request, choice: Choice, module: "nn.Module", device: str) -> Choice:
        """The tile with the highest rate, smaller ones first, as long as time and memory last."""
        choice = self._convertible(choice, module, request.spec, device)
        deadline, best = time.perf_counter() + SECONDS, choice
        for tile in reversed(tile_choices(request, choose_block(request, choice.device))):
            candidate = replace(choice, tile=tile)
            worth = best.rate is None or time.perf_counter() < deadline
            if not worth or not _fits(request.spec, candidate, tile):
                break
            rate = _rate(module, request.spec, candidate, device, self.threads)
            if best.rate is None or rate > best.rate:
                best = replace(candidate, rate=rate)
            elif rate < 0.7 * best.rate:  # beyond what a noisy machine makes of equals
                break
        return best

    def _compiled(self, best: Choice, pixels: int) -> Choice:
        gain = pixels / best.rate * COMPILE_GAIN if best.rate else 0.0
        if self.config.backend == "auto" and best.backend == "eager" and gain > 3 * COMPILE_SECONDS:
            return replace(best, backend="compile")
        return best


def input_shape(spec: ModelSpec, choice: Choice) -> tuple[int, ...]:
    """Shape of one network call: (N, C, *spatial)."""
    return (choice.batch, spec.in_channels, *(spec.input_size(t) for t in choice.tile))


def network_bytes(spec: ModelSpec, choice: Choice, tile: Sequence[int]) -> int:
    """Rough peak of one network call: feature maps at full resolution (3-D: twice, for its wider kernels)."""
    pixels = prod(spec.input_size(t) for t in tile) * choice.batch
    return pixels * spec.width * FEATURE_MAPS * BYTES[choice.precision] * (spec.dims - 1)


def _fits(spec: ModelSpec, choice: Choice, tile: Sequence[int]) -> bool:
    available = psutil.virtual_memory().available
    if choice.device == "cuda":
        import torch  # noqa: PLC0415 - only asked where a GPU is

        available = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else 16 * 2**30
    return bool(network_bytes(spec, choice, tile) < MEMORY_SHARE * available)


def _rate(module: "nn.Module", spec: ModelSpec, choice: Choice, device: str, threads: int | None) -> float:
    """Pixels of output per second, the better of two calls after one to warm up."""
    import torch  # noqa: PLC0415 - only where something runs

    from unet_batch.models.device import prepare  # noqa: PLC0415

    shape = input_shape(spec, choice)
    network = prepare(module, spec, device, choice.precision, choice.backend, shape, threads)
    x = torch.rand(shape, device=device)
    with torch.inference_mode():
        network(x)
        seconds = [_seconds(lambda: network(x)[..., 0].sum().item()) for _ in range(2)]
    return prod(choice.tile) * choice.batch / min(seconds)


def _seconds(call: Callable[[], object]) -> float:
    """Of one call that waits for the device, as ``.item()`` does."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started

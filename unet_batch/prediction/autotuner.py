"""Autotuner: what ``auto`` becomes for precision, backend, tile and batch, found by running networks.

Runs where the work will run: in the serial loop's process, on a Dask worker, or in a child of ``plan``.
torch is imported only where something runs.
"""

import importlib.util
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from unet_batch.errors import InputError
from unet_batch.models.machine import cpu_has_bf16, device_kind, free_memory
from unet_batch.models.normalise import Affine
from unet_batch.models.spec import ModelSpec
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.planning import Choice, choose_block, deciding_threads, tile_choices
from unet_batch.prediction.request import Request
from unet_batch.prediction.resources import MEMORY_SHARE, network_bytes, worker_count
from unet_batch.tiling import ceil_div

if TYPE_CHECKING:
    from torch import nn

SECONDS, SHARE = 8.0, 0.1  # a trial takes no longer, and no more of the work's own time
SMALL = 64  # work of fewer network calls is not worth a trial
CALLS = 3  # of each tile that is tried: one to warm up, and the better of two
CAP = {("cpu", 2): 2048, ("cuda", 2): 2048, ("cpu", 3): 128, ("cuda", 3): 192}
CPU_BYTES = 3.5 * 2**30  # of one network call that is not tried: wide networks gain little from larger tiles
CUDA_BATCH_PIXELS = 4 * 2**20
# Compiling takes some 40 s and gains some 15 % over eager (measured on CPU): worth it for long runs only.
COMPILE_GAIN, COMPILE_SECONDS = 0.15, 40.0


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
    block = choose_block(request, kind)
    tiles = tile_choices(request, block)
    cap = CAP[kind, request.spec.dims]
    fitting = [t for t in tiles if max(t) <= cap and _modest(request, choice, t)]
    choice = replace(choice, tile=min(fitting or tiles[-1:], key=lambda tile: _seen(request, block, tile)))
    if kind == "cuda" and config.batch == "auto":
        pixels = prod(request.spec.input_size(t) for t in choice.tile)
        choice = replace(choice, batch=max(1, min(16, CUDA_BATCH_PIXELS // pixels)))
    return choice


@dataclass(frozen=True, slots=True)
class Autotuner:
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
        from unet_batch.models.device import resolve_device, resolve_precision  # noqa: PLC0415 - torch
        from unet_batch.prediction.networks import loaded  # noqa: PLC0415 - imports torch

        request = Request.open(self.image, self.models, self.config, self.axes)
        modules = [loaded(*pair)[0] for pair in zip(request.hashes, self.models, strict=True)]
        device = resolve_device(self.config.device)
        choice = assume(replace(request, config=self.config.model_copy(update={"device": device})))
        choice = replace(choice, precision=resolve_precision(self.config.precision, device))
        todo = prod(b - a for a, b in request.roi)
        decided = "auto" not in (self.config.tile, self.config.backend)
        if (decided or todo < SMALL * _pixels(choice)) and not self.measure:
            return self._convertible(choice, modules[0], request.spec, device)
        best = self._fastest(request, choice, modules[0], device)
        return self._compiled(best, todo)

    def _convertible(self, choice: Choice, module: "nn.Module", spec: ModelSpec, device: str) -> Choice:
        """``choice``, with eager where the assumed backend cannot take this network."""
        from unet_batch.models.device import prepare  # noqa: PLC0415 - imports torch
        from unet_batch.models.feed import Feed  # noqa: PLC0415 - imports torch

        if self.config.backend != "auto" or choice.backend == "eager":
            return choice
        tile = (max(1, spec.receptive_field().multiple),) * spec.dims
        try:
            shape = input_shape(spec, replace(choice, tile=tile))
            prepare(module, spec, device, choice.precision, choice.backend, Feed(shape), self.threads)
        except InputError:
            return replace(choice, backend="eager")
        return choice

    def _fastest(self, request: Request, choice: Choice, module: "nn.Module", device: str) -> Choice:
        """The tile with the highest rate: from the assumed one upwards, downwards where that is no faster."""
        choice = self._convertible(choice, module, request.spec, device)
        began, todo = time.perf_counter(), prod(b - a for a, b in request.roi)
        tiles = tile_choices(request, choose_block(request, choice.device))
        at = tiles.index(choice.tile)
        first = best = self._rated(choice, request, module, device)
        for way in (tiles[:at][::-1], tiles[at + 1 :]):
            for candidate in (replace(choice, tile=tile) for tile in way):
                spent = time.perf_counter() - began + CALLS * _pixels(candidate) / _rate_of(best)
                limit = SECONDS if self.measure else min(SECONDS, SHARE * todo / _rate_of(best))
                if spent > limit or not _fits(request, candidate, candidate.tile):
                    break
                rated = self._rated(candidate, request, module, device)
                if _rate_of(rated) < 0.7 * _rate_of(best):  # beyond what a noisy machine makes of equals
                    break
                best = max(best, rated, key=_rate_of)
            if best is not first:
                break
        return best

    def _rated(self, choice: Choice, request: Request, module: "nn.Module", device: str) -> Choice:
        threads = deciding_threads(request, choice) or self.threads
        rate = _rate(module, request, choice, device, threads)
        return replace(choice, rate=rate)

    def _compiled(self, best: Choice, pixels: int) -> Choice:
        gain = pixels / best.rate * COMPILE_GAIN if best.rate else 0.0
        if self.config.backend == "auto" and best.backend == "eager" and gain > 3 * COMPILE_SECONDS:
            return replace(best, backend="compile")
        return best


def input_shape(spec: ModelSpec, choice: Choice) -> tuple[int, ...]:
    """Shape of one network call: (N, C, *spatial)."""
    return (choice.batch, spec.in_channels, *(spec.input_size(t) for t in choice.tile))


def _fits(request: Request, choice: Choice, tile: Sequence[int]) -> bool:
    available = free_memory() // max(1, worker_count(request.config))
    if choice.device == "cuda":
        import torch  # noqa: PLC0415 - only asked where a GPU is

        available = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else 16 * 2**30
    return bool(network_bytes(request.spec, choice, tile) < MEMORY_SHARE * available)


def _modest(request: Request, choice: Choice, tile: Sequence[int]) -> bool:
    on_gpu = choice.device == "cuda"
    return _fits(request, choice, tile) and (on_gpu or network_bytes(request.spec, choice, tile) < CPU_BYTES)


def _seen(request: Request, block: Sequence[int], tile: Sequence[int]) -> int:
    """Pixels of all inputs: margins, and what reaches past blocks that the border cuts, count as well."""
    region = request.roi[-request.spec.dims :]
    whole = [divmod(stop - start, b) for (start, stop), b in zip(region, block, strict=True)]
    return prod(
        (full * ceil_div(b, t) + ceil_div(rest, t)) * request.spec.input_size(t)
        for (full, rest), b, t in zip(whole, block, tile, strict=True)
    )


def _pixels(choice: Choice) -> int:
    """Of output, that one network call gives."""
    return prod(choice.tile) * choice.batch


def _rate_of(choice: Choice) -> float:
    return choice.rate or 0.0


def _rate(module: "nn.Module", request: Request, choice: Choice, device: str, threads: int | None) -> float:
    """Pixels of output per second, the better of two calls after one to warm up."""
    import torch  # noqa: PLC0415 - only where something runs

    from unet_batch.models.device import prepare  # noqa: PLC0415
    from unet_batch.models.feed import Feed, dtype_of  # noqa: PLC0415

    spec, channels = request.spec, request.spec.in_channels
    affine = Affine((0.5,) * channels, (0.5,) * channels)  # which one does not change the rate
    feed = Feed(input_shape(spec, choice), dtype_of(str(request.image.dtype)), affine)
    network = prepare(module, spec, device, choice.precision, choice.backend, feed, threads)
    x = (200 * torch.rand(feed.shape, device=device)).to(feed.dtype)
    with torch.inference_mode():
        network(x)
        seconds = [_seconds(lambda: network(x)[..., 0].sum().item()) for _ in range(CALLS - 1)]
    return _pixels(choice) / min(seconds)


def _seconds(call: Callable[[], object]) -> float:
    """Of one call that waits for the device, as ``.item()`` does."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started

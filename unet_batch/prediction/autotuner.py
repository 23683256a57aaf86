"""Autotuner: what ``auto`` becomes for precision, backend, tile and batch, found by running networks.

Runs where the work will run: in the serial loop's process, on a Dask worker, or in a child of ``plan``.
torch is imported only where something runs.
"""

import importlib.util
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import TYPE_CHECKING

from unet_batch.errors import InputError, one_line
from unet_batch.models.machine import cpu_has_bf16, device_kind, free_memory
from unet_batch.models.normalise import Affine
from unet_batch.models.runtime import Backend, Runtime
from unet_batch.models.spec import ModelSpec
from unet_batch.prediction.config import PredictConfig
from unet_batch.prediction.plan import Choice
from unet_batch.prediction.planning import choose_block, deciding_threads, tile_choices
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
ASSUMED_GPU_BYTES = 16 * 2**30
# Compiling takes some 40 s and gains some 15 % over eager (measured on CPU): worth it for long runs only.
COMPILE_GAIN, COMPILE_SECONDS = 0.15, 40.0


logger = logging.getLogger(__name__)


def assume(request: Request, gpu_bytes: int = ASSUMED_GPU_BYTES) -> Choice:
    """A choice without running anything: what usually wins, within memory.

    A driver does not ask a GPU, which would create a context there: it assumes ``gpu_bytes`` of memory. Where
    others than this machine's workers may compute, only a GPU can be meant by fp16.

    Raises:
        InputError: fp16 on a CPU, or settings that the network cannot take.
    """
    config = request.config
    elsewhere = config.device == "auto" and config.scheduler is not None
    kind = "cuda" if elsewhere and config.precision == "fp16" else device_kind(config.device)
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
    choice, memory = Choice(kind, precision, backend, (), batch), _memory(config, kind, gpu_bytes)
    block = choose_block(request, kind)
    tiles = tile_choices(request, block)
    cap = CAP[kind, request.spec.dims]
    fitting = [t for t in tiles if max(t) <= cap and _modest(request, choice, t, memory)]
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
            InputError: a device, precision or backend that is not there; an exported network that is not as
                its spec says.
        """
        from unet_batch.prediction.networks import loaded  # noqa: PLC0415 - imports torch

        request = Request.open(self.image, self.models, self.config, self.axes)
        pairs = [loaded(*pair) for pair in zip(request.hashes, self.models, strict=True)]
        remarks = [
            line for path, pair in zip(self.models, pairs, strict=True) for line in _checked(path, *pair)
        ]
        return replace(self._choice(request, pairs[0][0]), remarks=tuple(remarks))

    def _choice(self, request: Request, module: "nn.Module") -> Choice:
        from unet_batch.devices.device import open_device  # noqa: PLC0415 - imports torch
        from unet_batch.models.device import resolve_device, resolve_precision  # noqa: PLC0415 - torch

        device = resolve_device(self.config.device)
        memory = open_device(device).memory().free if device != "cpu" else 0
        choice = assume(replace(request, config=self.config.model_copy(update={"device": device})), memory)
        choice = replace(choice, precision=resolve_precision(self.config.precision, device))
        todo = prod(b - a for a, b in request.roi)
        decided = "auto" not in (self.config.tile, self.config.backend)
        if (decided or todo < SMALL * _pixels(choice)) and not self.measure:
            return self._convertible(choice, module, request.spec, device)
        best = self._fastest(request, choice, module, device, memory)
        best = self._in_another_form(best, "fused", request, module, device) if device != "cpu" else best
        pays = bool(best.rate) and todo / _rate_of(best) * COMPILE_GAIN > 3 * COMPILE_SECONDS
        return self._in_another_form(best, "compile", request, module, device) if pays else best

    def _convertible(self, choice: Choice, module: "nn.Module", spec: ModelSpec, device: str) -> Choice:
        """``choice``, with eager where the assumed backend cannot take this network."""
        from unet_batch.models.device import prepare  # noqa: PLC0415 - imports torch
        from unet_batch.models.feed import Feed  # noqa: PLC0415 - imports torch

        if self.config.backend != "auto" or choice.backend == "eager":
            return choice
        tile = (max(1, spec.receptive_field().multiple),) * spec.dims
        try:
            shape = input_shape(spec, replace(choice, tile=tile))
            prepare(module, spec, _runtime(choice, device, self.threads), Feed(shape))
        except InputError:
            return replace(choice, backend="eager")
        return choice

    def _fastest(
        self, request: Request, choice: Choice, module: "nn.Module", device: str, memory: int
    ) -> Choice:
        """The tile with the highest rate: from the assumed one upwards, downwards where that is no faster."""
        choice = self._convertible(choice, module, request.spec, device)
        began, todo = time.perf_counter(), prod(b - a for a, b in request.roi)
        tiles = tile_choices(request, choose_block(request, choice.device))
        memory = _memory(self.config, choice.device, memory)
        at = tiles.index(choice.tile)
        first = best = self._rated(choice, request, module, device)
        for way in (tiles[:at][::-1], tiles[at + 1 :]):
            for candidate in (replace(choice, tile=tile) for tile in way):
                spent = time.perf_counter() - began + CALLS * _pixels(candidate) / _rate_of(best)
                limit = SECONDS if self.measure else min(SECONDS, SHARE * todo / _rate_of(best))
                if spent > limit or not _fits(request, candidate, candidate.tile, memory):
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

    def _in_another_form(
        self, best: Choice, backend: Backend, request: Request, module: "nn.Module", device: str
    ) -> Choice:
        """``best`` by another backend where that works and is faster: without a compiler Triton does not."""
        if self.config.backend != "auto" or best.backend == "openvino":
            return best
        try:
            other = self._rated(replace(best, backend=backend), request, module, device)
        except Exception as error:  # noqa: BLE001 - torch's compiler raises anything
            logger.warning("%s does not work here (%s); %s is used", backend, one_line(error), best.backend)
            return best
        return max(best, other, key=_rate_of)


def _checked(path: str, module: "nn.Module", spec: ModelSpec) -> list[str]:
    """What to remark on of a network; one of another program is held to what its spec says."""
    if spec.architecture != "exported":
        return []
    from unet_batch.models.declared import check_declared  # noqa: PLC0415 - imports torch

    return check_declared(path, module, spec)


def input_shape(spec: ModelSpec, choice: Choice) -> tuple[int, ...]:
    """Shape of one network call: (N, C, *spatial)."""
    return (choice.batch, spec.in_channels, *(spec.input_size(t) for t in choice.tile))


def _memory(config: PredictConfig, kind: str, gpu_bytes: int) -> int:
    """Bytes that one worker may hope for."""
    return gpu_bytes if kind == "cuda" else free_memory() // max(1, worker_count(config))


def _runtime(choice: Choice, device: str, threads: int | None) -> Runtime:
    return Runtime(device, choice.precision, choice.backend, threads)


def _fits(request: Request, choice: Choice, tile: Sequence[int], memory: int) -> bool:
    return bool(network_bytes(request.spec, choice, tile) < MEMORY_SHARE * memory)


def _modest(request: Request, choice: Choice, tile: Sequence[int], memory: int) -> bool:
    on_gpu = choice.device == "cuda"
    small = on_gpu or network_bytes(request.spec, choice, tile) < CPU_BYTES
    return small and _fits(request, choice, tile, memory)


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

    from unet_batch.devices.device import open_device  # noqa: PLC0415
    from unet_batch.models.device import prepare  # noqa: PLC0415
    from unet_batch.models.feed import Feed, dtype_of  # noqa: PLC0415

    spec, channels = request.spec, request.spec.in_channels
    affine = Affine((0.5,) * channels, (0.5,) * channels)  # which one does not change the rate
    feed = Feed(input_shape(spec, choice), dtype_of(str(request.image.dtype)), affine)
    network = prepare(module, spec, _runtime(choice, device, threads), feed)
    place = open_device(device)
    with torch.inference_mode():
        x = place.upload((200 * torch.rand(feed.shape)).to(feed.dtype))
        network(x)
        place.synchronize()

        def call() -> None:
            network(x)
            place.synchronize()

        seconds = [_seconds(call) for _ in range(CALLS - 1)]
    return _pixels(choice) / min(seconds)


def _seconds(call: Callable[[], None]) -> float:
    """Of one call that waits for the device."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started

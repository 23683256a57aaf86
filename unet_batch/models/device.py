"""Where and how a network runs: device, precision, backend. Training does not come through here.

Shapes: N batch, C channels, then the spatial axes.
"""

import warnings
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from unet_batch.devices.claim import claim, visible
from unet_batch.devices.device import cuda_has_bf16, cuda_works, open_device
from unet_batch.errors import InputError
from unet_batch.models import normalise
from unet_batch.models.feed import Feed
from unet_batch.models.folding import fold_batch_norm, fuse_relu
from unet_batch.models.layers import channels_last
from unet_batch.models.machine import cpu_has_bf16
from unet_batch.models.normalise import Affine
from unet_batch.models.runtime import Precision, Runtime
from unet_batch.models.spec import ModelSpec

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Network(Protocol):
    """A network ready for inference; may be called from any thread, by ``calls`` of them at once."""

    @property
    def calls(self) -> int:
        """How many calls may run at once."""
        ...

    @property
    def overflowed(self) -> Tensor | None:
        """Of fp16 a bool on the device, which a call sets where finite pixels give other logits; else None.

        It stays set: who asks clears it before, and reads it with the answer.
        """
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """What its feed says, on the device, to float32 logits; a thread's next call may overwrite them."""
        ...


def resolve_device(name: str) -> str:
    """The device of this process as `open_device` takes it: ``cpu`` or ``cuda:N``.

    ``auto`` and ``cuda`` claim a GPU that no other process of this user's has (`devices/claim.py`).

    Raises:
        InputError: an unknown name, or a GPU that is not there.
    """
    if name == "cpu" or (name == "auto" and not (visible() and cuda_works())):
        return "cpu"
    kind, _, index = name.partition(":")
    if name not in ("auto", "cuda") and (kind != "cuda" or not index.isdecimal()):
        raise InputError(f"device {name}: not known; use auto, cpu, cuda or cuda:N")
    if not cuda_works():
        raise InputError(
            f"device {name}: torch sees no CUDA device; use cpu or auto, or install a CUDA build of torch"
        )
    if not index:
        return claim()
    if int(index) >= len(visible()):
        raise InputError(f"device {name}: there are {len(visible())} CUDA devices; use cpu or auto")
    return name


def resolve_precision(name: str, device: str) -> Precision:
    """``auto`` as "bf16" where the device computes in it, else "fp32"; other names checked.

    Raises:
        InputError: an unknown name, or fp16 on a CPU.
    """
    cuda = device.startswith("cuda")
    match name:
        case "auto":
            able = cuda_has_bf16() if cuda else cpu_has_bf16()
            return "bf16" if able else "fp32"
        case "fp16" if not cuda:
            raise InputError("precision fp16: needs a CUDA device; use bf16 or fp32")
        case "fp32" | "bf16" | "fp16":
            return name
        case _:
            raise InputError(f"precision {name}: not known; use auto, fp32, bf16 or fp16")


def prepare(
    model: nn.Module,
    spec: ModelSpec,
    runtime: Runtime,
    feed: Feed,
) -> Network:
    """A copy of ``model``, folded, cast and compiled for inputs as ``feed`` says.

    Args:
        model: what ``load_checkpoint`` gave.
        spec: its description.
        runtime: where and how it runs; logits come back as float32. OpenVINO runs on the CPU, and is the only
            one that can do more than one call at once.
        feed: shape, type and normalisation of all calls.

    Raises:
        InputError: openvino is not installed or the device is not a CPU; an exported network that does not
            take the feed's shape or gives other channels than the spec says.
    """
    device = runtime.device
    if runtime.backend == "openvino":
        from unet_batch.models.openvino import OpenVinoNetwork  # noqa: PLC0415 - an optional dependency

        if device != "cpu":
            raise InputError(f"backend openvino: runs on the CPU, not on {device}; use eager or compile")
        return OpenVinoNetwork(model, runtime, feed, _example(spec, feed))
    if runtime.backend == "fused" and device == "cpu":
        raise InputError("backend fused: runs on CUDA devices, not on the CPU; use eager or openvino")
    _fix_arithmetic()
    network = TorchNetwork(
        _ready(model, spec, runtime, feed.affine),
        runtime.threads if device == "cpu" else None,
    )
    if spec.architecture == "exported":
        _try_out(network, spec, device, feed)
    return network


@dataclass(frozen=True, slots=True)
class TorchNetwork:
    """A torch module from pixels as stored to logits. On a CPU it takes so many ``threads``."""

    module: nn.Module
    threads: int | None
    calls: ClassVar[int] = 1

    @property
    def overflowed(self) -> Tensor | None:
        """As `Network` says."""
        flag: Tensor | None = getattr(self.module, "overflowed", None)
        return flag

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, *spatial) to float32 logits."""
        # OpenMP keeps the number per calling thread, so setting it once elsewhere is not enough.
        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.inference_mode():
            logits: Tensor = self.module(x)
            return logits


class FromStored(nn.Module):
    """A network with what comes before it: normalisation, type and layout; its logits are float32.

    Offset and scale are buffers: made anew at each call, they would make a GPU wait for the host.
    """

    offset: Tensor
    scale: Tensor
    overflowed: Tensor

    def __init__(
        self, network: nn.Module, affine: Affine | None, dtype: torch.dtype, layout: torch.memory_format
    ) -> None:
        super().__init__()
        self.network, self.dtype, self.layout = network, dtype, layout
        self.affine = affine
        if dtype == torch.float16:
            self.register_buffer("overflowed", torch.zeros((), dtype=torch.bool))
        for name, values in () if affine is None else (("offset", affine.offset), ("scale", affine.scale)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, *spatial) as stored to float32 logits."""
        pixels = x
        if self.affine is not None:
            per_channel = (1, -1) + (1,) * (x.ndim - 2)
            offset, scale = self.offset.view(per_channel), self.scale.view(per_channel)
            x = normalise.stored(x, self.affine, offset, scale)
        logits: Tensor = self.network(x.to(dtype=self.dtype, memory_format=self.layout))
        if self.dtype == torch.float16:
            self.overflowed |= _overflow(pixels, logits)
        return logits.float()


def _overflow(pixels: Tensor, logits: Tensor) -> Tensor:
    """Whether a sample of finite ``pixels`` has ``logits`` that are not: one pass over these, and no wait.

    Sums of finite fp16 numbers are finite in float32, so the sum is finite where each of them is.
    """
    bad = ~logits.flatten(1).sum(dim=1, dtype=torch.float32).isfinite()
    if pixels.is_floating_point():
        bad = bad & pixels.flatten(1).isfinite().all(dim=1)
    return bad.any()


def _ready(model: nn.Module, spec: ModelSpec, runtime: Runtime, affine: Affine | None) -> nn.Module:
    dtype, layout = _DTYPES[runtime.precision], _layout(spec)
    network = fold_batch_norm(model).to(dtype=dtype)
    network = network.to(memory_format=layout)  # type: ignore[call-overload]  # torch's own stub lacks it
    network = open_device(runtime.device).move(network)
    if runtime.backend == "fused":
        network = fuse_relu(network)
    if runtime.backend == "compile":
        network = torch.compile(network, dynamic=False)  # type: ignore[assignment]
    # The affine stays float32, whatever the network computes in.
    return open_device(runtime.device).move(FromStored(network, affine, dtype, layout))


def _layout(spec: ModelSpec) -> torch.memory_format:
    """Channels last is fastest, but foreign programs may rely on the plain layout."""
    return torch.contiguous_format if spec.architecture == "exported" else channels_last(spec.dims)


def _fix_arithmetic() -> None:
    """Equal bytes on equal devices: no algorithm chosen by trial, no TF32 behind fp32's back."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    set_tf32(allowed=False)


def set_tf32(*, allowed: bool) -> None:
    """Whether fp32 on CUDA devices may mean TF32; torch allows it in convolutions by default.

    By the older settings: with the newer ones torch 2.13 refuses to export, as cuDNN's convolutions and RNNs
    count as different whatever they say. Some releases warn of the older ones.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.cudnn.allow_tf32 = allowed
        torch.set_float32_matmul_precision("high" if allowed else "highest")


def _example(spec: ModelSpec, feed: Feed) -> tuple[int, ...]:
    """A small shape that the network takes; of a foreign one only the feed's own is sure."""
    if spec.architecture == "exported":
        return feed.shape
    return (1, spec.in_channels, *(spec.input_size(1),) * spec.dims)


def _try_out(network: Network, spec: ModelSpec, device: str, feed: Feed) -> None:
    shape = feed.shape
    try:
        logits = network(open_device(device).upload(torch.zeros(shape, dtype=feed.dtype)))
    except Exception as error:  # noqa: BLE001 - a foreign program raises anything
        reason = str(error).strip().split("\n", 1)[0][:200]
        raise InputError(
            f"the exported network does not take {shape} ({reason}); "
            "export it with dynamic axes or set `fixed_size` and batch 1"
        ) from None
    found, wanted = tuple(logits.shape[:2]), (shape[0], spec.out_channels)
    if found != wanted:
        raise InputError(f"the exported network gives {found} (N, C), its spec says {wanted}; mend `classes`")

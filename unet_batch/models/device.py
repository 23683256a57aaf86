"""Where and how a network runs: device, precision, backend. Training does not come through here.

Shapes: N batch, C channels, then the spatial axes.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from unet_batch.errors import InputError
from unet_batch.models import normalise
from unet_batch.models.feed import Feed
from unet_batch.models.folding import fold_batch_norm
from unet_batch.models.layers import channels_last
from unet_batch.models.machine import cpu_has_bf16
from unet_batch.models.normalise import Affine
from unet_batch.models.spec import ModelSpec

Precision = Literal["fp32", "bf16", "fp16"]
Backend = Literal["eager", "compile", "openvino"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Network(Protocol):
    """A network ready for inference; may be called from any thread, by ``calls`` of them at once."""

    @property
    def calls(self) -> int:
        """How many calls may run at once."""
        ...

    def __call__(self, x: Tensor) -> Tensor:
        """What its feed says, on the device, to float32 logits; a thread's next call may overwrite them."""
        ...


def resolve_device(name: str) -> str:
    """``auto`` as "cuda" or "cpu"; other names checked: "cpu", "cuda" or "cuda:1".

    Raises:
        InputError: an unknown name, or a GPU that is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    kind, _, index = name.partition(":")
    if kind != "cuda" or (":" in name and not index.isdecimal()):
        raise InputError(f"device {name}: not known; use auto, cpu, cuda or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(index or 0) >= count:
        raise InputError(f"device {name}: torch sees {count} CUDA devices; use cpu or auto")
    return name


def resolve_precision(name: str, device: str) -> Precision:
    """``auto`` as "bf16" where the device computes in it, else "fp32"; other names checked.

    Raises:
        InputError: an unknown name, or fp16 on a CPU.
    """
    cuda = device.startswith("cuda")
    match name:
        case "auto":
            able = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else cpu_has_bf16()
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
    device: str,
    precision: Precision,
    backend: Backend,
    feed: Feed,
    threads: int | None = None,
) -> Network:
    """A copy of ``model``, folded, cast and compiled for inputs as ``feed`` says.

    Args:
        model: what ``load_checkpoint`` gave.
        spec: its description.
        device: as ``resolve_device`` gives it.
        precision: of the whole network; logits come back as float32.
        backend: eager and compile run on any device, openvino on the CPU.
        feed: shape, type and normalisation of all calls, and how many come at once: only openvino can do more
            than one.
        threads: CPU threads of all calls; None leaves the library's choice.

    Raises:
        InputError: openvino is not installed or the device is not a CPU; an exported network that does not
            take the feed's shape or gives other channels than the spec says.
    """
    if backend == "openvino":
        from unet_batch.models.openvino import OpenVinoNetwork  # noqa: PLC0415 - an optional dependency

        if device != "cpu":
            raise InputError(f"backend openvino: runs on the CPU, not on {device}; use eager or compile")
        return OpenVinoNetwork(model, precision, feed, _example(spec, feed), threads)
    _fix_arithmetic()
    network = TorchNetwork(
        _ready(model, spec, device, precision, backend),
        _DTYPES[precision],
        _layout(spec),
        threads if device == "cpu" else None,
        feed.affine,
    )
    if spec.architecture == "exported":
        _try_out(network, spec, device, feed)
    return network


@dataclass(frozen=True, slots=True)
class TorchNetwork:
    """A torch module that computes in its own type and layout."""

    module: nn.Module
    dtype: torch.dtype
    layout: torch.memory_format
    threads: int | None
    affine: Affine | None
    calls: ClassVar[int] = 1

    def __call__(self, x: Tensor) -> Tensor:
        """(N, C, *spatial) to float32 logits."""
        # OpenMP keeps the number per calling thread, so setting it once elsewhere is not enough.
        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)
        with torch.inference_mode():
            x = x if self.affine is None else normalise.stored(x, self.affine)
            logits: Tensor = self.module(x.to(dtype=self.dtype, memory_format=self.layout))
            return logits.float()


def _ready(
    model: nn.Module, spec: ModelSpec, device: str, precision: Precision, backend: Backend
) -> nn.Module:
    ready = fold_batch_norm(model).to(device=device, dtype=_DTYPES[precision])
    ready = ready.to(memory_format=_layout(spec))  # type: ignore[call-overload]  # torch's own stub lacks it
    return torch.compile(ready, dynamic=False) if backend == "compile" else ready  # type: ignore[return-value]


def _layout(spec: ModelSpec) -> torch.memory_format:
    """Channels last is fastest, but foreign programs may rely on the plain layout."""
    return torch.contiguous_format if spec.architecture == "exported" else channels_last(spec.dims)


def _fix_arithmetic() -> None:
    """Equal bytes on equal devices: no algorithm chosen by trial, no TF32 behind fp32's back."""
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.allow_tf32 = False
    torch.set_float32_matmul_precision("highest")


def _example(spec: ModelSpec, feed: Feed) -> tuple[int, ...]:
    """A small shape that the network takes; of a foreign one only the feed's own is sure."""
    if spec.architecture == "exported":
        return feed.shape
    return (1, spec.in_channels, *(spec.input_size(1),) * spec.dims)


def _try_out(network: Network, spec: ModelSpec, device: str, feed: Feed) -> None:
    shape = feed.shape
    try:
        logits = network(torch.zeros(shape, dtype=feed.dtype, device=device))
    except Exception as error:  # noqa: BLE001 - a foreign program raises anything
        reason = str(error).strip().split("\n", 1)[0][:200]
        raise InputError(
            f"the exported network does not take {shape} ({reason}); "
            "export it with dynamic axes or set `fixed_size` and batch 1"
        ) from None
    found, wanted = tuple(logits.shape[:2]), (shape[0], spec.out_channels)
    if found != wanted:
        raise InputError(f"the exported network gives {found} (N, C), its spec says {wanted}; mend `classes`")

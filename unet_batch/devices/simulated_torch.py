"""Torch's own calls that name a CUDA device, answered by the simulated one: within its streams they reach it.

`torch.zeros(3, device="cuda:0")` is a kernel there; `torch.tensor([1.0], device="cuda:0")` and
`tensor.to("cuda:0")` are copies from pageable memory, which wait and are counted.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from unet_batch.devices.simulated_tensor import SimulatedTensor

if TYPE_CHECKING:
    from unet_batch.devices.simulated import SimulatedDevice

KERNELS = (torch.zeros, torch.ones, torch.full, torch.empty, torch.arange, torch.eye, torch.rand, torch.randn)
FROM_HOST = (torch.tensor, torch.as_tensor, torch.asarray, torch.scalar_tensor)

_SET_DATA: Any = getattr(Tensor.data, "__set__")  # noqa: B009 - torch's stub does not know it


class TorchCalls(TorchFunctionMode):
    """What torch would do on the CUDA device that ``device`` simulates."""

    def __init__(self, device: "SimulatedDevice") -> None:
        super().__init__()
        self.device = device

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """One call of torch's Python functions."""
        kwargs = dict(kwargs or {})
        if func in (Tensor.to, Tensor.cuda):
            return self._to(func, args, kwargs)
        if func is Tensor.pin_memory:
            return self._pinned(args[0])
        if func == _SET_DATA and isinstance(args[0], SimulatedTensor):  # as Module.to ends
            args[0].elem, args[0].cell = args[1].elem, args[1].cell
            return func(*args)
        if func is Tensor.new_tensor and isinstance(args[0], SimulatedTensor):
            return self._copied(torch.tensor(args[1], dtype=args[0].dtype))
        if func in (*KERNELS, *FROM_HOST) and _is_cuda(kwargs.get("device")):
            kwargs["device"] = "cpu"
            made = func(*args, **kwargs)
            return self._copied(made) if func in FROM_HOST else self.device.holding(made)
        return func(*args, **kwargs)

    def _to(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensor, *words = args
        if func is Tensor.cuda:
            return self._copied(tensor)
        copy = kwargs.pop("copy", False)
        place, dtype, non_blocking, layout = torch._C._nn._parse_to(*words, **kwargs)  # noqa: SLF001
        there = isinstance(tensor, SimulatedTensor)
        options: dict[str, Any] = {"copy": copy, "memory_format": layout or torch.preserve_format}
        if place is None or (there and place.type != "cpu"):  # its own device, or "meta", as torch sees it
            return tensor.to(dtype=dtype or tensor.dtype, **options)
        if there or not _is_cuda(place):
            return tensor.to(place, dtype=dtype or tensor.dtype, non_blocking=non_blocking, **options)
        host = tensor.to(dtype=dtype or tensor.dtype, memory_format=options["memory_format"])
        return self._copied(host, non_blocking=non_blocking)

    def _copied(self, host: Tensor, *, non_blocking: bool = False) -> Tensor:
        into = self.device.holding(torch.empty_like(host))
        return into.copy_(host, non_blocking=non_blocking)

    def _pinned(self, host: Tensor) -> Tensor:
        return self.device.pinned(host.shape, host.dtype).copy_(host)


def _is_cuda(place: Any) -> bool:
    return place is not None and torch.device(place).type == "cuda"

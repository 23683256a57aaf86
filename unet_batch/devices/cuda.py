"""A CUDA device. Opening one creates its context, which takes some 0.5 GB: a driver of workers opens none."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from types import TracebackType

import torch
from torch import Tensor

from unet_batch.devices.device import Event, Memory, ModuleT
from unet_batch.errors import InputError

WARM_UPS = 2  # libraries choose and load their kernels in the first runs, which a capture does not bear


class CudaStream:
    """A stream of its own. One object serves one thread."""

    def __init__(self, stream: torch.cuda.Stream) -> None:
        self.stream = stream
        self._current: list[AbstractContextManager[None]] = []

    def record(self) -> Event:
        """The point after all work so far."""
        event: Event = self.stream.record_event()
        return event

    def wait(self, event: Event) -> None:
        """Further work waits for ``event``."""
        assert isinstance(event, torch.cuda.Event)
        self.stream.wait_event(event)

    def __enter__(self) -> "CudaStream":
        current: AbstractContextManager[None] = torch.cuda.stream(self.stream)
        current.__enter__()
        self._current.append(current)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._current.pop().__exit__(kind, error, trace)


class CudaDevice:
    """The CUDA device ``ordinal`` of those that this process sees; see `Device`.

    Raises:
        InputError: torch sees no such device.
    """

    asynchronous = True

    def __init__(self, ordinal: int) -> None:
        count = torch.cuda.device_count()
        if ordinal >= count:
            raise InputError(
                f"device cuda:{ordinal}: torch sees {count} CUDA devices; check the driver, that torch is a "
                "CUDA build, and CUDA_VISIBLE_DEVICES, or use --set device=cpu"
            )
        self.name, self.place = f"cuda:{ordinal}", torch.device("cuda", ordinal)

    def stream(self) -> CudaStream:
        """A new stream."""
        return CudaStream(torch.cuda.Stream(self.place))  # type: ignore[no-untyped-call]

    def current_stream(self) -> CudaStream:
        """Torch's current stream of this thread."""
        return CudaStream(torch.cuda.current_stream(self.place))

    def generator(self, seed: int) -> torch.Generator:
        """Torch's own."""
        return torch.Generator(self.place).manual_seed(seed)

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Page-locked memory."""
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory of the current stream: torch's allocator gives it back to that stream alone."""
        return torch.empty(tuple(shape), dtype=dtype, device=self.place)

    def upload(self, host: Tensor, into: Tensor | None = None) -> Tensor:
        """Copied by the current stream."""
        into = self.empty(host.shape, host.dtype) if into is None else into
        return into.copy_(host, non_blocking=True)

    def download(self, tensor: Tensor, into: Tensor) -> None:
        """Copied by the current stream."""
        into.copy_(tensor, non_blocking=True)

    def move(self, module: ModuleT) -> ModuleT:
        """``module`` on this device."""
        return module.to(self.place)

    def capture(self, program: Callable[[], None]) -> Callable[[], None]:
        """``program`` as a CUDA graph with memory of its own."""
        side = torch.cuda.Stream(self.place)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(self.place))
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                program()
        torch.cuda.current_stream(self.place).wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
            program()
        return graph.replay

    def memory(self) -> Memory:
        """Free for this process is also what torch keeps for later tensors."""
        free, total = torch.cuda.mem_get_info(self.place)
        kept = torch.cuda.memory_reserved(self.place) - torch.cuda.memory_allocated(self.place)
        return Memory(free + kept, total)

    def release(self) -> None:
        """Give what torch keeps back to the device."""
        torch.cuda.empty_cache()

    def synchronize(self) -> None:
        """Wait for all streams."""
        torch.cuda.synchronize(self.place)

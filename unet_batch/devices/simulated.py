"""A simulated device for tests: computes on the CPU and punishes what a real device would punish.

- Its tensors cannot be mixed with the host's, nor with those of another simulated device.
- Work is done in the order of its stream only. Who reads what another stream, or a copy to the host, has not
  been waited for reads poison (NaN, 0xAB, ...); the race is also kept in ``races``.
- Pinned memory that changes before its copy is done, and memory that is given back while another stream
  reads it, are races too.
- It runs out of memory at a set size, has several ordinals, can be slow, and counts what a test asks for:
  contexts of this process, synchronisations, copies from and to pageable memory.

How it knows: every stream, and the host, carries a vector clock (Lamport 1978; Fidge 1988) of the work that
it has waited for. Values are computed at once; what may be seen of them follows from the clocks.
"""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from unet_batch.devices.claim import SIMULATED, visible
from unet_batch.devices.device import Memory, ModuleT
from unet_batch.devices.simulated_stream import (
    LOCK,
    Clock,
    SimulatedStream,
    Stamp,
    before,
    merge,
)
from unet_batch.devices.simulated_tensor import Cell, Recorded, SimulatedTensor, poison, replayed, wrapped
from unet_batch.errors import InputError


@dataclass(frozen=True, slots=True)
class Settings:
    """The machine that is simulated.

    The environment variable ``UNET_BATCH_SIMULATED`` holds them as JSON, so that worker processes simulate
    the same machine. While it is set, CUDA devices are simulated ones.

    Attributes:
        count: devices.
        bytes: memory of each.
        seconds: that each kernel and copy takes.
        log: a file to which each context adds a line ``PID DEVICE``.
    """

    count: int = 1
    bytes: int = 2**30
    seconds: float = 0.0
    log: str | None = None

    @classmethod
    def of_environment(cls) -> "Settings":
        """What ``UNET_BATCH_SIMULATED`` says; no device where it is not set."""
        text = os.environ.get(SIMULATED)
        return cls(**json.loads(text)) if text else cls(count=0)

    @property
    def names(self) -> list[str]:
        """What stands for the devices' UUIDs."""
        return [f"SIM-{number}" for number in range(self.count)]


_open: dict[str, "SimulatedDevice"] = {}


def contexts() -> list[str]:
    """Devices on which this process has a context."""
    return sorted(_open)


def forget() -> None:
    """End all contexts of this process, between tests."""
    _open.clear()


@dataclass(slots=True)
class _Copy:
    """A copy between pinned memory and the device that the host has not waited for."""

    stamp: Stamp
    host: Tensor
    value: Tensor
    to_host: bool


class SimulatedDevice:
    """One simulated device; see `Device`. Opened by `open_device`, or `at`."""

    asynchronous: ClassVar[bool] = True

    def __init__(self, label: str, ordinal: int, settings: Settings) -> None:
        self.label, self.settings = label, settings
        self.name, self.place = f"cuda:{ordinal}", torch.device("cuda", ordinal)
        self.used = 0
        self.counts: Counter[str] = Counter()
        self.races: list[str] = []
        self.host_clock: Clock = {}
        self.recording: list[Recorded] | None = None
        self._pinned: dict[int, Tensor] = {}
        self._copies: list[_Copy] = []
        self.streams = [SimulatedStream(self, 0)]
        self._threads = threading.local()

    @classmethod
    def at(cls, ordinal: int) -> "SimulatedDevice":
        """The device ``ordinal`` of those that this process sees: the first call makes its context."""
        seen = visible()
        if ordinal >= len(seen):
            raise InputError(f"device cuda:{ordinal}: there are {len(seen)}; set {SIMULATED}")
        with LOCK:
            if seen[ordinal] not in _open:
                settings = Settings.of_environment()
                _open[seen[ordinal]] = cls(seen[ordinal], ordinal, settings)
                if settings.log:
                    with Path(settings.log).open("a", encoding="utf-8") as log:
                        log.write(f"{os.getpid()} {seen[ordinal]}\n")
            return _open[seen[ordinal]]

    @property
    def stack(self) -> list[tuple[SimulatedStream, TorchFunctionMode]]:
        """The streams that this thread has entered, the innermost last, each with its torch calls."""
        if not hasattr(self._threads, "stack"):
            self._threads.stack = []
        found: list[tuple[SimulatedStream, TorchFunctionMode]] = self._threads.stack
        return found

    @property
    def current(self) -> SimulatedStream:
        """The stream that takes this thread's work."""
        return self.stack[-1][0] if self.stack else self.streams[0]

    def stream(self) -> SimulatedStream:
        """A new stream."""
        with LOCK:
            self.streams.append(SimulatedStream(self, len(self.streams)))
            return self.streams[-1]

    def current_stream(self) -> SimulatedStream:
        """The stream that takes this thread's work."""
        return self.current

    def generator(self, seed: int) -> torch.Generator:
        """One of the host: what it gives is the same."""
        return torch.Generator().manual_seed(seed)

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Host memory that this device knows."""
        self._refuse_captured("pinning memory")
        with torch.inference_mode(False):  # what is made here is written at any time
            memory = torch.empty(tuple(shape), dtype=dtype)
        self._pinned[memory.untyped_storage().data_ptr()] = memory
        return memory

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory of the device, full of poison."""
        with torch.inference_mode(False):  # what is made here is written at any time
            elem = poison(torch.empty(tuple(shape), dtype=dtype))
            return wrapped(elem, self.cell(elem))

    def holding(self, host: Tensor) -> SimulatedTensor:
        """Memory of the device in which the current stream makes the values of ``host``."""
        tensor = wrapped(host, self.cell(host))
        tensor.cell.write(self.current, self.races)
        return tensor

    def upload(self, host: Tensor, into: Tensor | None = None) -> Tensor:
        """Copied by the current stream."""
        into = self.empty(host.shape, host.dtype) if into is None else into
        return into.copy_(host, non_blocking=True)

    def download(self, tensor: Tensor, into: Tensor) -> None:
        """Copied by the current stream."""
        into.copy_(tensor, non_blocking=True)

    def move(self, module: ModuleT) -> ModuleT:
        """``module`` with simulated parameters and buffers."""
        before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        try:
            module._apply(self._moved)  # type: ignore[no-untyped-call]  # noqa: SLF001 - what Module.to does
            return module
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(before)

    def capture(self, program: Callable[[], None]) -> Callable[[], None]:
        """The work of ``program``, without its Python, on the same memory."""
        program()
        recording: list[Recorded] = []
        self.recording = recording
        try:
            program()
        finally:
            self.recording = None
        return lambda: replayed(self, recording)

    def memory(self) -> Memory:
        """What is not taken by live tensors."""
        return Memory(self.settings.bytes - self.used, self.settings.bytes)

    def release(self) -> None:
        """Nothing is kept for later tensors."""

    def synchronize(self) -> None:
        """Wait for all that any stream was given."""
        clock: Clock = {}
        for stream in self.streams:
            merge(clock, stream.clock)
        self.wait(clock, max(stream.finish for stream in self.streams))

    # What tensors ask of their device

    def cell(self, elem: Tensor) -> Cell:
        """Memory for ``elem``, counted as long as it is referred to.

        Raises:
            torch.OutOfMemoryError: it would be more than the device has.
        """
        # What a captured program uses on its way was counted when it was run before.
        size = elem.untyped_storage().nbytes() if self.recording is None else 0
        with LOCK:
            if self.used + size > self.settings.bytes:
                free = self.settings.bytes - self.used
                raise torch.OutOfMemoryError(f"{self.name}: out of memory: {size} bytes wanted, {free} free")
            self.used += size
        return Cell(self, size, self.current.number)

    def wait(self, clock: Clock, finish: float) -> None:
        """The host waits until ``finish`` for the work of ``clock``."""
        self._refuse_captured("waiting")
        self.counts["synchronisations"] += 1
        time.sleep(max(0.0, finish - time.monotonic()))
        self.see(clock)

    def see(self, clock: Clock) -> None:
        """From now on the host has waited for the work of ``clock``."""
        with LOCK:
            merge(self.host_clock, clock)
            done = [copy for copy in self._copies if before(copy.stamp, self.host_clock)]
            self._copies = [copy for copy in self._copies if not before(copy.stamp, self.host_clock)]
        for copy in done:
            if copy.to_host:
                copy.host.copy_(copy.value)
            elif not _equal(copy.host, copy.value):
                self.races.append("pinned memory changed before it was copied to the device")

    def copy_in(self, target: SimulatedTensor, host: Tensor, *, non_blocking: bool) -> None:
        """Host to device."""
        with LOCK:
            value = host.detach().clone()
            stamp = target.cell.write(self.current, self.races)
            target.elem.copy_(value)
            if self.is_pinned(host) and non_blocking:
                self._copies.append(_Copy(stamp, host, value, to_host=False))
                return
        self._pageable()

    def copy_out(self, host: Tensor, source: SimulatedTensor, *, non_blocking: bool) -> None:
        """Device to host."""
        with LOCK:
            value = source.seen(self.current).detach().to(host.dtype).clone()
            stamp = self.current.launch()
            if self.is_pinned(host) and non_blocking:
                host.copy_(poison(torch.empty_like(host)))
                self._copies.append(_Copy(stamp, host, value, to_host=True))
                return
        self._pageable()
        host.copy_(value)

    def to_host(self, source: SimulatedTensor) -> Tensor:
        """A copy in ordinary memory, which waits for the current stream."""
        with LOCK:
            value = source.seen(self.current).detach().clone()
            self.current.launch()
        self.wait(self.current.clock, self.current.finish)
        return value

    def is_pinned(self, host: Tensor) -> bool:
        """Whether ``host`` lies in memory that `pinned` gave."""
        return host.untyped_storage().data_ptr() in self._pinned

    def _pageable(self) -> None:
        self.counts["pageable"] += 1
        self.wait(self.current.clock, self.current.finish)

    def _moved(self, tensor: Tensor) -> Tensor:
        if isinstance(tensor, SimulatedTensor):
            return tensor
        elem = tensor.detach().clone()
        return wrapped(elem, self.cell(elem))

    def _refuse_captured(self, what: str) -> None:
        if self.recording is not None:
            raise RuntimeError(f"{self.name}: {what} is not possible while work is captured")


def _equal(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one.double(), other.double(), rtol=0, atol=0, equal_nan=True)

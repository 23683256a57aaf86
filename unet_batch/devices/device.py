"""Device: what a pipeline asks of the place where tensors are computed, and the one that a name stands for.

    device = open_device("cuda:0")
    upload, compute = device.stream(), device.stream()
    staged = device.pinned((3, 512, 512), torch.uint8)      # decode into this
    with upload:
        pixels = device.upload(staged)                      # returns at once
        copied = upload.record()
    compute.wait(copied)                                    # the device waits, the host does not
    with compute:
        labels = network(pixels)
        done = compute.record()
    done.synchronize()                                      # now the host may read, and reuse ``staged``

Three implementations: `cpu` (streams and events do nothing, as everything is done when a call returns),
`cuda`, and `simulated`, which computes on the CPU and punishes what a real device would punish. One suite
passes on all three (tests/gpu/test_devices.py).
"""

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor, nn

from unet_batch.devices.claim import SIMULATED
from unet_batch.errors import InputError

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Memory(NamedTuple):
    """Bytes of a device's memory."""

    free: int
    total: int


class Event(Protocol):
    """A point in a stream's work."""

    def synchronize(self) -> None:
        """Let the host wait until the stream has come to this point."""

    def query(self) -> bool:
        """Whether the stream has come to this point."""


class Stream(AbstractContextManager["Stream"], Protocol):
    """Work in order. ``with stream:`` makes it the current stream of this thread.

    Streams do not wait for each other unless told to.
    """

    def record(self) -> Event:
        """The point after all work that was given to the stream so far."""

    def wait(self, event: Event) -> None:
        """Let the stream's further work wait for ``event``; the host does not wait."""


class Device(Protocol):
    """A place where tensors are computed. Threads may share it, each with streams of its own."""

    @property
    def name(self) -> str:
        """As settings have it: ``cpu`` or ``cuda:0``."""

    @property
    def place(self) -> torch.device:
        """As torch has it."""

    @property
    def asynchronous(self) -> bool:
        """Whether a call may return before its work is done."""

    def stream(self) -> Stream:
        """A new stream."""

    def current_stream(self) -> Stream:
        """The one that takes this thread's work now."""

    def generator(self, seed: int) -> torch.Generator:
        """Random numbers that are made on the device."""

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Host memory from and to which copies run beside other work. Its values are anything."""

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Memory of the device. Its values are anything.

        Raises:
            torch.OutOfMemoryError: the device has no such memory left (not on CPUs).
        """

    def upload(self, host: Tensor, into: Tensor | None = None) -> Tensor:
        """``host`` on the device, by the current stream; pinned memory must keep its values until then."""

    def download(self, tensor: Tensor, into: Tensor) -> None:
        """Copy to the host tensor ``into`` by the current stream; its values are anything until then."""

    def move(self, module: ModuleT) -> ModuleT:
        """``module``, with its parameters and buffers on the device."""

    def capture(self, program: Callable[[], None]) -> Callable[[], None]:
        """``program`` as one call that repeats its work on the same memory; it is run on the way.

        ``program`` reads and writes tensors that were made before, and never waits.
        """

    def memory(self) -> Memory:
        """What the device has; of a CPU what the machine has."""

    def release(self) -> None:
        """Give memory that is kept for later tensors back, after running out of memory."""

    def synchronize(self) -> None:
        """Let the host wait for all work of the device."""


def sent(values: Tensor, place: torch.device) -> Tensor:
    """``values`` of the host on the device ``place``, by the current stream and without a wait.

    Their own memory may change or go at once: a copy in pinned memory is what travels.
    """
    if place.type == "cpu":
        return values
    device = open_device(str(place))
    staged = device.pinned(values.shape, values.dtype)
    staged.copy_(values)
    return device.upload(staged)


def cuda_works() -> bool:
    """Whether this process can open a CUDA device; asking creates no context."""
    return bool(os.environ.get(SIMULATED)) or torch.cuda.is_available()


def cuda_has_bf16() -> bool:
    """Whether its CUDA devices multiply bfloat16 in hardware (all since Ampere)."""
    return bool(os.environ.get(SIMULATED)) or torch.cuda.is_bf16_supported(including_emulation=False)


def open_device(name: str) -> Device:
    """The device that ``name`` stands for: ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        InputError: there is no such device.
    """
    kind, _, number = name.partition(":")
    if kind == "cpu":
        from unet_batch.devices.cpu import CpuDevice  # noqa: PLC0415 - each where it is used

        return CpuDevice()
    ordinal = int(number) if number.isdigit() else 0
    if kind == "cuda" and os.environ.get(SIMULATED):
        from unet_batch.devices.simulated import SimulatedDevice  # noqa: PLC0415 - only in tests

        return SimulatedDevice.at(ordinal)
    if kind == "cuda":
        from unet_batch.devices.cuda import CudaDevice  # noqa: PLC0415 - each where it is used

        return CudaDevice(ordinal)
    raise InputError(f"device {name}: not known; use auto, cpu, cuda or cuda:N")

"""The CPU as a device: every call has done its work when it returns, so streams and events do nothing."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar

import psutil
import torch
from torch import Tensor

from unet_batch.devices.device import Memory, ModuleT


class Done:
    """An event that has happened."""

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def query(self) -> bool:
        """Always."""
        return True


class Immediately:
    """A stream whose work is done when it is given."""

    def record(self) -> Done:
        """The point that has been reached."""
        return Done()

    def wait(self, event: object) -> None:
        """Nothing to wait for."""

    def __enter__(self) -> "Immediately":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None


@dataclass(frozen=True, slots=True)
class CpuDevice:
    """The CPU; see `Device`."""

    name: ClassVar[str] = "cpu"
    place: ClassVar[torch.device] = torch.device("cpu")
    asynchronous: ClassVar[bool] = False

    def stream(self) -> Immediately:
        """A stream that does nothing."""
        return Immediately()

    def current_stream(self) -> Immediately:
        """A stream that does nothing."""
        return Immediately()

    def generator(self, seed: int) -> torch.Generator:
        """Torch's own."""
        return torch.Generator().manual_seed(seed)

    def pinned(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Ordinary memory: nothing is copied beside other work."""
        return torch.empty(tuple(shape), dtype=dtype)

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Ordinary memory."""
        return torch.empty(tuple(shape), dtype=dtype)

    def upload(self, host: Tensor, into: Tensor | None = None) -> Tensor:
        """``host`` itself, without a copy, unless it is wanted in other memory."""
        return host if into is None else into.copy_(host)

    def download(self, tensor: Tensor, into: Tensor) -> None:
        """Copied at once."""
        into.copy_(tensor)

    def move(self, module: ModuleT) -> ModuleT:
        """``module`` as it is."""
        return module

    def capture(self, program: Callable[[], None]) -> Callable[[], None]:
        """``program`` itself, run once."""
        program()
        return program

    def memory(self) -> Memory:
        """What the machine has."""
        found = psutil.virtual_memory()
        return Memory(found.available, found.total)

    def release(self) -> None:
        """Nothing is kept."""

    def synchronize(self) -> None:
        """Nothing to wait for."""

"""Streams and events of a simulated device: work in order, and what has been waited for."""

import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from unet_batch.devices.simulated import SimulatedDevice

Stamp: TypeAlias = tuple[int, int]
"""Number of a stream, and of a piece of work in it."""
Clock: TypeAlias = dict[int, int]
"""For each stream the last piece of work that was waited for."""

LOCK = threading.RLock()
"""Held where clocks change."""


@dataclass(slots=True)
class SimulatedEvent:
    """A point in a stream's work; done at the time ``finish``."""

    device: "SimulatedDevice"
    clock: Clock
    finish: float

    def synchronize(self) -> None:
        """The host waits, and may then see what came before."""
        self.device.wait(self.clock, self.finish)

    def query(self) -> bool:
        """Whether that would take no time."""
        done = time.monotonic() >= self.finish
        if done:
            self.device.see(self.clock)
        return done


@dataclass(slots=True, eq=False)
class SimulatedStream:
    """Work in order."""

    device: "SimulatedDevice"
    number: int
    clock: Clock = field(default_factory=dict)
    finish: float = 0.0

    def record(self) -> SimulatedEvent:
        """The point after all work so far."""
        with LOCK:
            return SimulatedEvent(self.device, dict(self.clock), self.finish)

    def wait(self, event: object) -> None:
        """Further work comes after ``event``."""
        assert isinstance(event, SimulatedEvent)
        with LOCK:
            merge(self.clock, event.clock)
            self.finish = max(self.finish, event.finish)

    def launch(self) -> Stamp:
        """One piece of work more; it comes after all that the host has waited for."""
        merge(self.clock, self.device.host_clock)
        self.clock[self.number] = self.clock.get(self.number, 0) + 1
        self.finish = max(self.finish, time.monotonic()) + self.device.settings.seconds
        return self.number, self.clock[self.number]

    def __enter__(self) -> "SimulatedStream":
        from unet_batch.devices.simulated_torch import TorchCalls  # noqa: PLC0415 - in a circle

        calls = TorchCalls(self.device)
        calls.__enter__()  # type: ignore[no-untyped-call]
        self.device.stack.append((self, calls))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.device.stack.pop()[1].__exit__(kind, error, trace)  # type: ignore[no-untyped-call]


def merge(clock: Clock, other: Clock) -> None:
    """Let ``clock`` know what ``other`` knows."""
    for number, count in other.items():
        clock[number] = max(clock.get(number, 0), count)


def before(stamp: Stamp, clock: Clock) -> bool:
    """Whether the work of ``stamp`` comes before all that follows ``clock``."""
    return clock.get(stamp[0], 0) >= stamp[1]

"""Runtime: where and how the networks of one process run. Imports no torch."""

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "bf16", "fp16"]
Backend = Literal["eager", "fused", "compile", "openvino"]


@dataclass(frozen=True, slots=True)
class Runtime:
    """One choice for all networks of a process.

    Attributes:
        device: ``cpu`` or ``cuda:N``, as `resolve_device` gives it.
        precision: what networks compute in.
        backend: what runs them.
        threads: CPU threads of all calls together; None leaves the library's choice.
        calls: how many calls should run at once, at most.
    """

    device: str = "cpu"
    precision: Precision = "fp32"
    backend: Backend = "eager"
    threads: int | None = None
    calls: int = 1

"""What this machine has and can do, without torch."""

import os
from pathlib import Path
from typing import Literal


def device_kind(name: str) -> Literal["cpu", "cuda"]:
    """``auto`` as the kind of device that this machine has, any other name as its kind."""
    if name == "auto":
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
        return "cuda" if any(Path("/dev").glob("nvidia[0-9]*")) and not hidden else "cpu"
    return "cuda" if name.startswith("cuda") else "cpu"


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; elsewhere than on Linux, no."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)

"""What this machine has and can do, without torch."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

import psutil

from unet_batch.devices.claim import visible


def device_kind(name: str) -> Literal["cpu", "cuda"]:
    """``auto`` as the kind of device that this machine has, any other name as its kind."""
    if name == "auto":
        return "cuda" if visible() else "cpu"
    return "cuda" if name.startswith("cuda") else "cpu"


def cpu_has_bf16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether this CPU multiplies bfloat16 in hardware; elsewhere than on Linux, no."""
    try:
        lines = cpuinfo.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(flags)


def free_memory(environ: Mapping[str, str] = os.environ, root: Path = Path("/")) -> int:
    """Bytes that this process may still hope for: what is free, a task's share of its SLURM job, its cgroups.

    Of the last two the whole limit counts, used or not: what is used is mostly file cache, which gives way.
    """
    return min((psutil.virtual_memory().available, *_of_slurm(environ), *_of_cgroups(root)))


def _of_slurm(environ: Mapping[str, str]) -> Iterator[int]:
    """The job's memory on this node over its tasks there; nothing outside of jobs or without a limit."""
    node, cpu = (environ.get(f"SLURM_MEM_PER_{per}", "") for per in ("NODE", "CPU"))
    if cpu.isdigit() and environ.get("SLURM_CPUS_ON_NODE", "").isdigit():
        megabytes = int(cpu) * int(environ["SLURM_CPUS_ON_NODE"])
    else:
        megabytes = int(node) if node.isdigit() else 0
    told = environ.get("SLURM_STEP_TASKS_PER_NODE", "")  # as in 2(x3),1; only srun sets it
    tasks = max(map(int, re.findall(r"(?:^|,)(\d+)", told)), default=1)
    if megabytes:
        yield megabytes * 2**20 // max(tasks, 1)


def _of_cgroups(root: Path) -> Iterator[int]:
    """Limits of this process's cgroups and of those that hold them, versions 1 and 2."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # elsewhere than on Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            top, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        elif not controllers:
            top, name = root / "sys/fs/cgroup", "memory.max"
        else:
            continue
        own = top / path.strip("/")
        for folder in (own, *own.parents):
            with suppress(OSError, ValueError):  # "max"; no such file in a container's view or at the top
                yield int((folder / name).read_text(encoding="ascii"))
            if folder == top:
                break

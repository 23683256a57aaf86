"""The machine and the versions that a figure was measured with. Measures nothing."""

import hashlib
import os
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil

import unet_batch

PACKAGES = ("unet-batch", "torch", "openvino", "zarr", "zarrs", "numpy", "dask", "distributed", "monai")


def facts() -> dict[str, Any]:
    """What belongs beside every result: date, machine, versions."""
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "source": source_hash(),
        "machine": {
            "cpu": cpu_name(),
            "cores": len(os.sched_getaffinity(0)),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
            "instructions": sorted(_flags() & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}),
            "load_before": round(os.getloadavg()[0], 2),
            "system": platform.platform(),
        },
        "versions": {
            "python": sys.version.split()[0],
            **{name: found for name in PACKAGES if (found := installed(name))},
        },
    }


def source_hash(package: Path | None = None) -> str:
    """Of the package's own code (as imported, or in a folder): so a figure belongs to one state of it."""
    root = package or Path(unet_batch.__file__).parent
    digest = hashlib.sha256()
    for file in sorted(root.rglob("*.py")):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def cpu_name() -> str:
    """The processor as Linux names it."""
    return _cpuinfo().get("model name", platform.processor())


def installed(package: str) -> str | None:
    """Its version, None where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _flags() -> set[str]:
    return set(_cpuinfo().get("flags", "").split())


def _cpuinfo() -> dict[str, str]:
    """The first processor of /proc/cpuinfo."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
    except OSError:
        return {}
    return {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.split("\n"))
    }

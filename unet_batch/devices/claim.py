"""Which GPU a process takes: one that no other process of this user's on the machine has taken.

    device = claim()          # "cuda:0"; a worker hides all other GPUs from itself

Workers of any Dask cluster (started here, by ``dask worker``, by dask-cuda with its rotated lists, by SLURM)
find their own GPU in this way, and lose it to the next one when they die. Asks the driver library (NVML),
which creates no CUDA context, and imports no torch: a driver of workers may count devices.
"""

import ctypes
import fcntl
import hashlib
import itertools
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

VISIBLE = "CUDA_VISIBLE_DEVICES"
SIMULATED = "UNET_BATCH_SIMULATED"
_UUID_BYTES = 96

_held: dict[str, int] = {}
"""Descriptors of the locks of this process, which live as long as it does."""


def visible(
    environ: Mapping[str, str] = os.environ, installed: Sequence[str] | None = None
) -> tuple[str, ...]:
    """UUIDs of the GPUs that this process may use, in the order of CUDA_VISIBLE_DEVICES.

    As CUDA does, it takes the list up to the first entry that names no device. Where the driver library
    cannot be asked, devices are called by their numbers.
    """
    found = tuple(_installed(environ) if installed is None else installed)
    if VISIBLE not in environ:
        return found
    chosen: list[str] = []
    for word in (word.strip() for word in environ[VISIBLE].split(",")):
        if word.isdigit():
            named = found[int(word) : int(word) + 1]
        else:
            named = tuple(uuid for uuid in found if word and uuid.startswith(word))[:1]
            named = named or ((word,) if word.startswith(("MIG-", "GPU-")) and not found else ())
        if not named or named[0] in chosen:
            break
        chosen.append(named[0])
    return tuple(chosen)


def count(name: str) -> int:
    """How many GPUs ``auto``, ``cuda`` or ``cuda:N`` stand for; 0 for ``cpu``, or where there are none."""
    if name == "cpu":
        return 0
    return 1 if ":" in name else len(visible())


def claim(environ: MutableMapping[str, str] = os.environ, *, hide: bool | None = None) -> str:
    """The device of this process, as `open_device` takes it, and the same at every later call.

    It takes the first that nobody else has; where all are taken, one that the fewest share.

    Args:
        environ: of the process.
        hide: hide all others from the process. By default workers do, which do nothing else; a process that
            may start workers later does not. Where CUDA is at work already it cannot be done any more.
    """
    devices = visible(environ)
    hide = multiprocessing.parent_process() is not None if hide is None else hide
    if _held:
        return _name(next(iter(_held)), devices, environ if hide else None)
    for place in itertools.count():
        for device in devices or ("0",):
            if _lock(device, place):
                return _name(device, devices, environ if hide else None)
    raise AssertionError("unreachable")


def _name(device: str, devices: Sequence[str], environ: MutableMapping[str, str] | None) -> str:
    if len(devices) <= 1:
        return "cuda:0"
    if environ is None or _at_work():
        return f"cuda:{devices.index(device)}"
    environ[VISIBLE] = device
    return "cuda:0"


def _lock(device: str, place: int) -> bool:
    """Take place number ``place`` on a device, unless another process has it."""
    folder = Path(tempfile.gettempdir()) / f"unet-batch-devices-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    name = hashlib.sha256(device.encode()).hexdigest()[:16]
    descriptor = os.open(folder / f"{name}-{place}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    except OSError:  # a file system without locks: nobody can be told apart
        pass
    _held[device] = descriptor
    return True


def _at_work() -> bool:
    torch = sys.modules.get("torch")
    return bool(torch is not None and torch.cuda.is_initialized())


def _installed(environ: Mapping[str, str]) -> list[str]:
    if environ.get(SIMULATED):
        from unet_batch.devices.simulated import Settings  # noqa: PLC0415 - only in tests

        return Settings.of_environment().names
    with suppress(OSError, AttributeError):
        return _uuids(ctypes.CDLL("libnvidia-ml.so.1"))
    return [str(number) for number in range(len(list(Path("/dev").glob("nvidia[0-9]*"))))]


def _uuids(nvml: Any) -> list[str]:
    """UUIDs of all GPUs, and in place of a GPU that is parted (MIG) those of its parts."""
    if nvml.nvmlInit_v2() != 0:
        return []
    try:
        count = ctypes.c_uint()
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        found: list[str] = []
        for number in range(count.value):
            handle = ctypes.c_void_p()
            if nvml.nvmlDeviceGetHandleByIndex_v2(number, ctypes.byref(handle)) == 0:
                found += _parts(nvml, handle) or [_uuid(nvml, handle)]
        return found
    finally:
        nvml.nvmlShutdown()


def _parts(nvml: Any, handle: ctypes.c_void_p) -> list[str]:
    current, pending = ctypes.c_uint(), ctypes.c_uint()
    if nvml.nvmlDeviceGetMigMode(handle, ctypes.byref(current), ctypes.byref(pending)) or not current.value:
        return []
    most, found = ctypes.c_uint(), []
    nvml.nvmlDeviceGetMaxMigDeviceCount(handle, ctypes.byref(most))
    for number in range(most.value):
        part = ctypes.c_void_p()
        if nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number, ctypes.byref(part)) == 0:
            found.append(_uuid(nvml, part))
    return found


def _uuid(nvml: Any, handle: ctypes.c_void_p) -> str:
    text = ctypes.create_string_buffer(_UUID_BYTES)
    nvml.nvmlDeviceGetUUID(handle, text, _UUID_BYTES)
    return text.value.decode()
